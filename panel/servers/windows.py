"""Sliding windows: how many letters went in the last minute, hour and day, and when there is room for more.

A window counts in *buckets* much shorter than itself. The bucket that is on and as many whole ones before it as make up
the window's length are counted, so that no span of that length, wherever it begins, holds more than the limit. The
price is that room comes back up to one bucket later than it might: a second, a minute, five minutes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from panel.smtp.limits import Limits


@dataclass(frozen=True, slots=True)
class Window:
    """A span of time, in seconds, and the width of its buckets. A bucket's number is its beginning by its width."""

    name: str
    length: int
    width: int

    @property
    def before(self) -> int:
        """How many buckets before the one that is on still count."""
        return self.length // self.width

    def bucket(self, now: float) -> int:
        """The number of the bucket that is on."""
        return math.floor(now / self.width)

    def frees_at(self, bucket: int) -> float:
        """When that bucket counts no more."""
        return float((bucket + self.before + 1) * self.width)


MINUTE: Final = Window("minute", 60, 1)
HOUR: Final = Window("hour", 3600, 60)
DAY: Final = Window("day", 86_400, 300)
WINDOWS: Final = (MINUTE, HOUR, DAY)

Counts = Mapping[int, Mapping[int, int]]
"""By a window's length: by a bucket's number: letters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """How much of one limit is used, and when the first of it is free again (None: nothing is used)."""

    window: Window
    limit: int
    used: int
    renews_at: float | None

    @property
    def full(self) -> bool:
        """Whether nothing more may go."""
        return self.used >= self.limit


def usages(counts: Counts, limits: Limits, now: float) -> list[Usage]:
    """The use of each limit that there is, the shortest window first. Full: `renews_at` is when a letter may go."""
    found = []
    for window, limit in _limited(limits):
        living = _living(counts.get(window.length, {}), window, now)
        used = sum(living.values())
        renews_at = _room_at(living, window, max(0, used - limit) + 1) if used else None
        found.append(Usage(window=window, limit=limit, used=used, renews_at=renews_at))
    return found


def room(found: Iterable[Usage]) -> int | None:
    """How many letters may go now; None: as many as there are."""
    left = [max(0, usage.limit - usage.used) for usage in found]
    return min(left) if left else None


def binding(found: Iterable[Usage]) -> Usage | None:
    """The limit that keeps letters waiting longest; None when none is used up."""
    full = [usage for usage in found if usage.full]
    return max(full, key=lambda usage: usage.renews_at or 0.0) if full else None


def _limited(limits: Limits) -> list[tuple[Window, int]]:
    return [(window, rate) for window, rate in zip(WINDOWS, limits.rates, strict=True) if rate is not None]


def _living(buckets: Mapping[int, int], window: Window, now: float) -> dict[int, int]:
    oldest = window.bucket(now) - window.before
    return {bucket: count for bucket, count in sorted(buckets.items()) if bucket >= oldest and count > 0}


def _room_at(living: Mapping[int, int], window: Window, wanted: int) -> float | None:
    for bucket, count in living.items():
        wanted -= count
        if wanted <= 0:
            return window.frees_at(bucket)
    return None
