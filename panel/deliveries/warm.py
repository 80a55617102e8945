"""Connections kept open between letters: setting one up costs more than the letter."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from typing import Final

from panel.smtp.session import Session

IDLE: Final = 15.0
"""Seconds that a connection is kept without use. Servers hang up on idle ones after minutes, some after 30 s."""

_SWEEP: Final = 3.0
_GOODBYES: Final = 5.0  # seconds that all who were said QUIT to have for their answers together
_LAST_GOODBYES: Final = 1.0  # the same when the process ends


class WarmSessions:
    """Open sessions by whom they belong to. A session is in here or in use by one thread, never both."""

    def __init__(self, ended: Callable[[Session], None]) -> None:
        self._ended = ended  # told of each session that is given up
        self._lock = threading.Lock()
        self._idle: dict[Hashable, list[tuple[Session, float]]] = {}
        self._sweeper: threading.Thread | None = None

    def take(self, key: Hashable) -> Session | None:
        """The connection last used for `key`, or None. It may have been closed by the server meanwhile."""
        with self._lock:
            waiting = self._idle.get(key)
            if not waiting:
                return None
            session, _ = waiting.pop()
            if not waiting:
                del self._idle[key]
            return session

    def give(self, key: Hashable, session: Session) -> None:
        """Keeps a session for the next letter."""
        with self._lock:
            self._idle.setdefault(key, []).append((session, time.monotonic()))
            if self._sweeper is None:
                self._sweeper = threading.Thread(target=self._sweep, name="warm-sessions", daemon=True)
                self._sweeper.start()

    def close(self) -> None:
        """Says goodbye on all of them."""
        self._quit_older_than(0.0, within=_LAST_GOODBYES)

    def _sweep(self) -> None:
        while True:
            time.sleep(_SWEEP)
            self._quit_older_than(IDLE, within=_GOODBYES)

    def _quit_older_than(self, age: float, *, within: float) -> None:
        now = time.monotonic()
        with self._lock:
            old = [(key, entry) for key, waiting in self._idle.items() for entry in waiting if now - entry[1] >= age]
            for key, entry in old:
                self._idle[key].remove(entry)
                if not self._idle[key]:
                    del self._idle[key]
        deadline = time.monotonic() + within
        for _, (session, _) in old:
            session.say_quit(deadline)
        for _, (session, _) in old:
            session.hear_goodbye(deadline)
            self._ended(session)
