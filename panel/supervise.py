"""Keeps child processes running: starts them, restarts what dies, gathers their output into one log, ends them all.

One thread and one `select` do everything, so that forking is safe and the order of things is plain to follow.
"""

from __future__ import annotations

import contextlib
import functools
import os
import selectors
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import IO

from panel.partlog import PartLog
from panel.process import STOP_SIGNALS, Forked, die_with_parent

# Parts stop in three waves. What is left of each is killed so long after the stop was asked for: under 10 seconds. So a
# wave has for itself what those before it did not need.
WAVES_END = (7.5, 8.5, 9.5)
# A part that ran this long was healthy: when it dies, the pauses before a restart begin with the shortest again.
HEALTHY_SECONDS = 30.0
SHORTEST_PAUSE, LONGEST_PAUSE = 0.25, 15.0


class PartFailed(Exception):
    """A part did not come up. The text is for people."""


class StopRequested(Exception):
    """Ctrl-C or SIGTERM came while parts were still starting."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One program to keep running, or with `once` to run to its end.

    `command` is a command line, or a function to go on with in a fork of this process. `ready` is asked until it says
    True; without it the part calls `panel.process.notify_ready` itself. `wave` says when it is stopped: 0 is first,
    then come 1 and 2. `reword` makes of a line what the log shall say, "" for nothing. `aside`: of one that runs once
    the lines are kept for `output`, and come into the log only if it fails.
    """

    name: str
    command: Sequence[str] | Callable[[], object]
    environ: Mapping[str, str]
    ready: Callable[[], bool] | None = None
    once: bool = False
    wave: int = 0
    aside: bool = False
    reword: Callable[[str], str] = str.rstrip


@dataclass(slots=True)
class _Child:
    part: Part
    process: subprocess.Popen[bytes] | Forked | None = None
    notify: socket.socket | None = None
    is_ready: bool = False
    exit_code: int = 0
    started_at: float = 0.0
    deaths_in_a_row: int = 0
    start_again_at: float | None = None
    lines: list[str] = field(default_factory=list)

    def has_ended(self) -> bool:
        """True when it does not run. What a dead part left in its process group is killed, to free ports and files."""
        if self.process is None:
            return True
        code = self.process.poll()
        if code is None:
            return False
        self.kill_group()
        self.exit_code, self.process = code, None
        return True

    def kill_group(self) -> None:
        if self.process:
            # macOS says PermissionError for a group of which only zombies are left.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)


class Supervisor:
    """Use it as a context manager: signals are caught inside, and nothing it started outlives it.

    `runtime` is a private folder with a short path, for sockets.
    """

    def __init__(self, *, runtime: Path, log: PartLog) -> None:
        self._runtime = runtime
        self._log = log
        self._children: dict[str, _Child] = {}
        self._selector = selectors.DefaultSelector()
        self._wake_read, self._wake_write = socket.socketpair()
        self._stop_asked = False
        self._interrupts = 0

    def __enter__(self) -> Supervisor:
        self._wake_read.setblocking(False)
        self._wake_write.setblocking(False)
        self._selector.register(self._wake_read, selectors.EVENT_READ, self._forget_wake_ups)
        # A signal's byte on this socket is what ends the select, so SIGCHLD needs a handler but nothing in it.
        signal.set_wakeup_fd(self._wake_write.fileno(), warn_on_full_buffer=False)
        handlers = {signal.SIGCHLD: lambda _number, _frame: None, **dict.fromkeys(STOP_SIGNALS, self._on_stop_signal)}
        self._handlers_before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()
        for number, handler in self._handlers_before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(-1)
        self._selector.close()
        self._wake_read.close()
        self._wake_write.close()

    def start(self, *parts: Part) -> None:
        """Starts them side by side; `wait` says when they are ready."""
        for part in parts:
            child = self._children[part.name] = _Child(part)
            if not part.once and part.ready is None:
                child.notify = self._listen_for_readiness(child)
            self._spawn(child)

    def wait(self, *parts: Part, timeout: float = 60.0) -> None:
        """Returns once all of these are ready (those to run once: ended well).

        `timeout` is in seconds. Raises PartFailed when one ends first or takes too long, StopRequested on a signal.
        """
        end = time.monotonic() + timeout
        waiting = [self._children[part.name] for part in parts]
        while waiting:
            if self._stop_asked or self._log.broken:
                raise StopRequested
            if time.monotonic() > end:
                raise PartFailed(f"{waiting[0].part.name} was not ready within {timeout:g} seconds.")
            self._turn(0.02)
            waiting = [child for child in waiting if not self._is_ready(child)]

    def output(self, name: str) -> list[str]:
        """The lines that a part which runs once has printed; none when there is no such part."""
        return self._children[name].lines if name in self._children else []

    def run(self) -> None:
        """Restarts what dies, until a signal says to stop or nobody reads the log any more."""
        while not self._stop_asked and not self._log.broken:
            dead = [child for child in self._children.values() if not child.part.once and child.has_ended()]
            for child in dead:
                self._bring_back(child)
            self._turn(0.05 if dead else 1.0)

    def _stop(self) -> None:
        """Stops all parts, wave by wave; another Ctrl-C kills what is left at once."""
        interrupts, asked = self._interrupts, time.monotonic()
        for wave, seconds in enumerate(WAVES_END):
            left = [child for child in self._children.values() if child.part.wave == wave and not child.has_ended()]
            for child in reversed(left):
                if child.process:
                    child.process.terminate()
            while left and time.monotonic() < asked + seconds and self._interrupts == interrupts:
                self._turn(0.05)
                left = [child for child in left if not child.has_ended()]
            for child in left:
                self._log.write("up", f"{child.part.name} did not stop in time: killed")
                child.kill_group()
                while not child.has_ended():
                    self._turn(0.05)
        self._turn(0)

    def _spawn(self, child: _Child) -> None:
        environ = dict(child.part.environ)
        if child.notify:
            environ["NOTIFY_SOCKET"] = child.notify.getsockname()
        child.start_again_at, child.started_at = None, time.monotonic()
        if callable(child.part.command):
            child.process = Forked(child.part.command, name=child.part.name, environ=environ)
        else:
            child.process = _run_program(child.part.command, environ)
        self._follow_output(child, child.process.stdout)

    def _follow_output(self, child: _Child, pipe: IO[bytes] | None) -> None:
        if pipe is None:
            raise AssertionError("stdout=PIPE makes a pipe")
        buffer = bytearray()

        def read() -> None:
            chunk = os.read(pipe.fileno(), 65536)
            # The last line may lack its line end.
            buffer.extend(chunk or b"\n")
            self._log_lines(child, buffer)
            if not chunk:
                self._selector.unregister(pipe)
                pipe.close()

        self._selector.register(pipe, selectors.EVENT_READ, read)

    def _bring_back(self, child: _Child) -> None:
        now = time.monotonic()
        if child.start_again_at is None:
            healthy = now - child.started_at > HEALTHY_SECONDS
            child.deaths_in_a_row = 1 if healthy else child.deaths_in_a_row + 1
            pause = min(SHORTEST_PAUSE * 2 ** (child.deaths_in_a_row - 1), LONGEST_PAUSE)
            child.start_again_at = now + pause
            self._log.write("up", f"{child.part.name} {_ending(child.exit_code)}; starting it again in {pause:g} s")
        elif now >= child.start_again_at:
            self._spawn(child)

    def _is_ready(self, child: _Child) -> bool:
        if child.is_ready:
            return True
        if child.has_ended():
            self._turn(0)
            if not child.part.once or child.exit_code != 0:
                for line in child.lines if child.part.aside else ():
                    self._log.write(child.part.name, line)
                raise PartFailed(f"{child.part.name} {_ending(child.exit_code)} while starting; see its lines above.")
            child.is_ready = True
        elif child.part.ready:
            child.is_ready = child.part.ready()
        return child.is_ready

    def _listen_for_readiness(self, child: _Child) -> socket.socket:
        path = self._runtime / f"{child.part.name}.notify"
        path.unlink(missing_ok=True)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        sock.bind(str(path))

        def read() -> None:
            if b"READY=1" in sock.recv(4096).split(b"\n"):
                child.is_ready = True

        self._selector.register(sock, selectors.EVENT_READ, read)
        return sock

    def _log_lines(self, child: _Child, buffer: bytearray) -> None:
        *lines, rest = bytes(buffer).split(b"\n")
        buffer[:] = rest
        for line in lines:
            text = child.part.reword(line.decode("utf-8", "replace"))
            if text and child.part.once:
                child.lines.append(text)
            if text and not child.part.aside:
                self._log.write(child.part.name, text)

    def _turn(self, timeout: float) -> None:
        """Does what there is to read, waiting `timeout` seconds at most for the first of it."""
        for key, _ in self._selector.select(timeout):
            key.data()

    def _forget_wake_ups(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._wake_read.recv(4096)

    def _on_stop_signal(self, number: int, _frame: FrameType | None) -> None:
        self._stop_asked = True
        self._interrupts += number == signal.SIGINT


def _run_program(command: Sequence[str], environ: Mapping[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603 - the commands are this program's own
        command,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        # A session of its own: the terminal's Ctrl-C reaches only this process, which then stops all in order.
        start_new_session=True,
        preexec_fn=functools.partial(die_with_parent, os.getpid()),
    )


def _ending(code: int) -> str:
    if code >= 0:
        return f"ended with code {code}"
    return f"was killed by {signal.Signals(-code).name}"
