"""Two words between a process and the one that started it: "I am at work" and "when you end, so do I"."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import sys

PR_SET_PDEATHSIG = 1

# Looked up before any fork: between fork and exec as little as possible should happen.
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


def die_with_parent(parent: int | None = None) -> None:
    """Has the kernel kill this process when the thread that forked it ends (prctl(2), PR_SET_PDEATHSIG).

    Call it in the child right after a fork made by the main thread. `parent` is the parent's process id, to notice one
    that ended before the call. Does nothing elsewhere than on Linux.
    """
    if _libc is None:
        return
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if parent is not None and os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


def notify_ready() -> None:
    """Tells whoever started this process, `ownpost up` or systemd, that it is at work (sd_notify(3)).

    Does nothing unless they asked to be told, by NOTIFY_SOCKET.
    """
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock, contextlib.suppress(OSError):
        sock.sendto(b"READY=1", address)
