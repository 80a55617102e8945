"""The network is out of bounds in tests: only loopback and unix sockets may be reached.

An audit hook sees every connect, whichever library makes it. It raises, and it also remembers, because code under
test may well catch the exception as one more connection failure.
"""

from __future__ import annotations

import ipaddress
import socket
import sys
from typing import Any

# The machine's own name is looked up by every SMTP client that says who it is.
LOCAL_NAMES = frozenset({"localhost", "localhost.localdomain", "ip6-localhost", "", socket.gethostname().lower()})
_installed = False
_violations: list[str] = []


class NetworkForbidden(Exception):
    """A test tried to leave the machine."""


def install() -> None:
    """Starts watching this process, once. An audit hook stays until the process ends."""
    global _installed
    if not _installed:
        _installed = True
        sys.addaudithook(_hook)


def take_violations() -> list[str]:
    """What was tried since the last call, and forgets it."""
    taken = list(_violations)
    _violations.clear()
    return taken


def _hook(event: str, args: tuple[Any, ...]) -> None:
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        sock, address = args
        # `sendto` and `sendmsg` on a connected socket carry no address: the connect was judged already.
        if address is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
            _require_local(event, str(address[0]), literals_only=False)
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        _require_local(event, _text(args[0]), literals_only=True)


def _text(host: object) -> str:
    if isinstance(host, (bytes, bytearray)):
        return bytes(host).decode("latin-1")
    return "" if host is None else str(host)


def _require_local(event: str, host: str, *, literals_only: bool) -> None:
    if host.lower().rstrip(".") in LOCAL_NAMES:
        return
    try:
        address = ipaddress.ip_address(host.split("%", 1)[0])
    except ValueError:
        pass
    else:
        # Looking up a literal asks no name server, so it is harmless until something connects to it.
        if literals_only or address.is_loopback:
            return
    _violations.append(f"{event} {host}")
    raise NetworkForbidden(f"{event} to {host!r}: tests may only reach loopback")
