"""Runs the connections of a lane by turns in one thread: whoever waits lets another one go on.

Each connection is a greenlet, so that the SMTP session stays what it is for tests and test sends, a blocking one. Ten
threads instead spend more of their time handing the interpreter to each other than on letters; and here it is plain
when nobody can go on without a commit, which then serves all who wait for one.
"""

from __future__ import annotations

import contextvars
import select
import socket
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

from greenlet import getcurrent, greenlet

from panel.deliveries.recorder import Entry

_TICK: Final = 0.05  # seconds after which it looks around, though nobody has anything new


class Hub:
    """Made and run in the lane's thread; `commit` records entries together, `meanwhile` is called now and then.

    `ahead` is called when all wait for their servers, and may take as long as servers usually do.
    """

    def __init__(
        self,
        *,
        commit: Callable[[Sequence[Entry]], None],
        meanwhile: Callable[[], None],
        ahead: Callable[[], None] = lambda: None,
    ) -> None:
        self._commit = commit
        self._meanwhile = meanwhile
        self._ahead = ahead
        self._epoll = select.epoll()
        self._ready: deque[tuple[Any, int]] = deque()
        self._asleep: dict[int, tuple[Any, float]] = {}
        self._entries: list[tuple[Any, Entry]] = []
        self._alive = 0
        self._late_looked_at = 0.0
        self._self = getcurrent()

    def start(self, line: Callable[[], None]) -> None:
        """Lets `line` run by turns from now on. It may use `wait` and `record`, and must raise nothing."""

        def run(_first: int) -> None:
            try:
                line()
            finally:
                self._alive -= 1

        turn = greenlet(run, parent=self._self)
        turn.gr_context = contextvars.copy_context()
        self._alive += 1
        self._ready.append((turn, 0))

    def run(self) -> None:
        """Returns when the last line has ended."""
        while self._alive:
            while self._ready:
                turn, value = self._ready.popleft()
                turn.switch(value)
            self._look(0.0)
            if not self._ready:
                self._record_or_wait()
        self._epoll.close()

    def _record_or_wait(self) -> None:
        self._meanwhile()
        if self._entries:
            asked, self._entries = self._entries, []
            self._commit([entry for _, entry in asked])
            self._ready.extend((turn, 0) for turn, _ in asked)
        elif self._alive and not self._ready:
            self._ahead()
            self._look(_TICK)

    def _look(self, patience: float) -> None:
        """Finds whose socket has something to say, and whose time is up: that at every _TICK, however much there is."""
        waits = patience > 0.0
        if waits and self._asleep:
            nearest = min(deadline for _, deadline in self._asleep.values())
            patience = max(0.0, min(patience, nearest - time.monotonic()))
        for number, events in self._epoll.poll(patience) if self._asleep or patience else ():
            found = self._asleep.pop(number, None)
            if found is not None:
                self._ready.append((found[0], events))
        now = time.monotonic()
        if waits or now >= self._late_looked_at + _TICK:
            self._late_looked_at = now
            for number in [number for number, (_, deadline) in self._asleep.items() if deadline <= now]:
                self._ready.append((self._asleep.pop(number)[0], 0))

    # -- for a line --------------------------------------------------------------------------------------------------

    def wait(self, sock: socket.socket, events: int, deadline: float) -> int:
        """Waits for one of the `select.poll` events, and returns what is there. Raises TimeoutError."""
        if time.monotonic() >= deadline:
            raise TimeoutError
        number = sock.fileno()
        try:
            self._epoll.modify(number, events | select.EPOLLONESHOT)
        except FileNotFoundError:
            self._epoll.register(number, events | select.EPOLLONESHOT)
        self._asleep[number] = (getcurrent(), deadline)
        found: int = self._self.switch()
        if not found:
            raise TimeoutError
        return found

    def record(self, entry: Entry) -> None:
        """Returns once the entry is committed, with others'. Raises what `Recorder` left as its error."""
        self._entries.append((getcurrent(), entry))
        self._self.switch()
        if entry.error is not None:
            raise entry.error
