"""How many connections a lane may have: few at first, more while all goes well, fewer when its server minds.

And whether that server answers at all.
"""

from __future__ import annotations

import threading
import time
import uuid
from dataclasses import dataclass
from typing import Final

FIRST: Final = 2
_UNPROVEN: Final = 1
_GROW_AFTER: Final = 10
"""Letters accepted in a row, over all of a lane's connections, that earn it another one."""
_SHY_FOR: Final = 60.0
"""Seconds without growth after a server minded."""


@dataclass(slots=True)
class _Width:
    now: int = _UNPROVEN
    most: int = FIRST
    accepted: int = 0
    answers: bool = False
    shy_until: float = 0.0
    looked_at: float = 0.0


class Widths:
    """By lane; of this worker. Safe to be used by all threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._of: dict[uuid.UUID, _Width] = {}

    def allowed(self, lane: uuid.UUID) -> int:
        """How many connections the lane may have now. One until a letter was accepted."""
        with self._lock:
            width = self._of.get(lane)
            return width.now if width else _UNPROVEN

    def limit(self, lane: uuid.UUID, most: int) -> None:
        """Says how many connections its server allows at most."""
        with self._lock:
            width = self._of.setdefault(lane, _Width())
            width.most = max(1, most)
            width.now = min(width.now, width.most)
            width.looked_at = time.monotonic()

    def accepted(self, lane: uuid.UUID) -> None:
        """A letter was accepted."""
        with self._lock:
            width = self._of.setdefault(lane, _Width())
            if width.now == _UNPROVEN:
                width.now = min(FIRST, width.most)
            width.answers = True
            width.accepted += 1
            if width.accepted >= _GROW_AFTER and time.monotonic() >= width.shy_until:
                width.now, width.accepted = min(width.now + 1, width.most), 0

    def minded(self, lane: uuid.UUID) -> None:
        """The server refused a connection, or was too busy for a letter."""
        with self._lock:
            width = self._of.setdefault(lane, _Width())
            width.now, width.accepted = max(1, width.now // 2), 0
            width.shy_until = time.monotonic() + _SHY_FOR

    def stalled(self, lane: uuid.UUID) -> None:
        """The server has said nothing for long."""
        with self._lock:
            if lane in self._of:
                self._of[lane].answers = False

    def answers(self, lane: uuid.UUID) -> bool:
        """Whether the server has accepted a letter and not been silent for long since."""
        with self._lock:
            return lane in self._of and self._of[lane].answers

    def forget(self, *, idle: float) -> None:
        """Drops what has not been used for so many seconds."""
        with self._lock:
            now = time.monotonic()
            self._of = {lane: width for lane, width in self._of.items() if now - width.looked_at < idle}
