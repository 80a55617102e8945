"""Child processes: forked ones, and the two words between any of them and its parent.

The words are "I am at work" and "when you end, so do I".
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import resource
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Mapping
from typing import IO, Final, NoReturn

PR_SET_PDEATHSIG, PR_SET_NAME = 1, 15
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

# Seconds after which a lane that reckons lets another go on. With Python's own 5 ms each of a lane's many short waits
# for the database or a server would cost it that much for every other lane that is busy.
_SWITCH: Final = 0.0005

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


def open_as_many_files_as_allowed() -> None:
    """Raises this process's soft limit of open files, connections among them, to its hard one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def prepare_for_lanes() -> None:
    """Tunes this process, which has imported everything, for what a delivery worker does: many threads, all waiting."""
    gc.freeze()
    sys.setswitchinterval(_SWITCH)


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


class Forked:
    """A child that goes on from here in a copy of this process, as `subprocess.Popen` is one that begins afresh.

    What is imported already is there at once and its memory is shared, which is what makes a dozen processes cheap.
    This process must have one thread only. The child has a session of its own, ends with this process, and writes its
    stdout and stderr into the pipe `stdout`.
    """

    def __init__(self, run: Callable[[], object], *, name: str, environ: Mapping[str, str]) -> None:
        parent = os.getpid()
        reading, writing = os.pipe()
        sys.stdout.flush()
        # Held back until the child has handlers of its own: one that came earlier would be lost on the parent's.
        signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        self.pid = os.fork()
        if self.pid == 0:
            _become_child(run, name=name, environ=environ, output=writing, parent=parent)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
        os.close(writing)
        self.stdout: IO[bytes] = os.fdopen(reading, "rb", buffering=0)
        self._exit_code: int | None = None

    def poll(self) -> int | None:
        """The exit code, negative for a signal's number; None while it runs."""
        if self._exit_code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._exit_code = os.waitstatus_to_exitcode(status)
        return self._exit_code

    def terminate(self) -> None:
        """Asks it to end (SIGTERM)."""
        if self.poll() is None:
            os.kill(self.pid, signal.SIGTERM)


def _become_child(
    run: Callable[[], object], *, name: str, environ: Mapping[str, str], output: int, parent: int
) -> NoReturn:
    code = 1
    try:
        os.setsid()
        die_with_parent(parent)
        _forget_parent(output)
        os.environ.clear()
        os.environ.update(environ)
        if _libc is not None:
            _libc.prctl(PR_SET_NAME, name.encode()[:15])
        run()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001 - nothing may escape into what was the parent's program
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)


def _forget_parent(output: int) -> None:
    """Leaves the parent's signal handlers, files and locks to the parent."""
    signal.set_wakeup_fd(-1)
    for number in (*STOP_SIGNALS, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(source, target)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    # New ones, since the parent's may be set on other files, and a pipe would be written in blocks.
    sys.stdout, sys.stderr = (open(number, "w", buffering=1, closefd=False) for number in (1, 2))  # noqa: SIM115
