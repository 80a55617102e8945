"""Python loads this by itself in every process that has this folder in PYTHONPATH: it writes down whom that one calls.

An audit hook stays until the process ends, sees every call whichever library makes it, and goes along into forks. What
would leave the machine is written down and not let through: the test fails, and nobody out there hears of it.
"""

import json
import os
import socket
import sys
from typing import Any

_CALLS = ("socket.connect", "socket.sendto", "socket.sendmsg")
_LOOKUPS = ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr", "socket.getnameinfo")
_PROGRAMS = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn")
_log = os.open(os.environ["OWNPOST_TESTS_WATCH"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)


def _hook(event: str, args: tuple[Any, ...]) -> None:
    if event in _CALLS:
        sock, address = args[0], args[1]
        # A datagram on a connected socket carries no address: the connect was written down.
        if address is not None:
            _note(event, sock.family.name, address)
            if sock.family in (socket.AF_INET, socket.AF_INET6) and not address[0].startswith(("127.", "::1")):
                raise PermissionError(f"tests may only reach loopback, not {address[0]}")
    elif event in _LOOKUPS or event in _PROGRAMS:
        _note(event, "", args[0])


def _note(event: str, family: str, what: Any) -> None:
    line = json.dumps([event, family, what if isinstance(what, tuple) else str(what)])
    os.write(_log, line.encode() + b"\n")


sys.addaudithook(_hook)
