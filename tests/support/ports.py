"""Ports for servers that are told where to listen, and start to later."""

from __future__ import annotations

import os
import socket
from itertools import cycle

# Below the ports that the system gives to whoever asks for any (32768 and up), so that nobody gets one of these in the
# moment between; and each test process takes its own.
_FIRST, _EACH, _PROCESSES = 20_000, 1_500, 8
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _PROCESSES
_ports = cycle(range(_FIRST + _WORKER * _EACH, _FIRST + (_WORKER + 1) * _EACH))
for _ in range(os.getpid() % _EACH):  # another run of the tests on this machine begins elsewhere
    next(_ports)


def free_port() -> int:
    """A TCP port on loopback on which nothing listens, and which nobody here is given soon again."""
    for port in _ports:
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                sock.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError  # `cycle` has no end
