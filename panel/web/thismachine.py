"""Whether a request comes from this very machine."""

from __future__ import annotations

import ipaddress

from flask import request

# What proxies and tunnels add: those of HTTP (RFC 7239, RFC 9110 section 7.6.3), and those of their makers.
FORWARDED = ("forwarded", "via", "true-client-ip", "x-client-ip", "x-cluster-client-ip", "x-real-ip", "x-original-host")
FORWARDED_PREFIXES = ("x-forwarded-", "x-envoy-", "cf-", "cdn-", "ngrok-", "fastly-", "fly-", "tailscale-")


def is_asking() -> bool:
    """True for a program here that was aimed here.

    A tunnel or proxy on this machine connects from loopback as well but passes a stranger on: it says so in a header,
    or shows by the host name that was asked for. The name also stops a web page whose own name leads here.

    One that says nothing and under which the name is this machine's, such as `ssh -L`, cannot be told from a program
    here: whoever guards more than figures asks for more than this.
    """
    names = {name.lower() for name, _ in request.headers}
    if not names.isdisjoint(FORWARDED) or any(name.startswith(FORWARDED_PREFIXES) for name in names):
        return False
    return _is_loopback(request.remote_addr or "") and _is_loopback(request.host)


def _is_loopback(host: str) -> bool:
    name = host.rsplit(":", 1)[0] if host.count(":") == 1 or "]:" in host else host
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False
