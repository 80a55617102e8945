"""Whether a request comes from this very machine."""

from __future__ import annotations

import ipaddress

from flask import request

FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Real-IP", "Via")


def is_asking() -> bool:
    """True for a program here that was aimed here.

    A tunnel or proxy on this machine connects from loopback as well but passes a stranger on: it says so in a header,
    or shows by the host name that was asked for. The name also stops a web page whose own name leads here.
    """
    if any(name in request.headers for name in FORWARDED):
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
