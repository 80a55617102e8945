"""When so many letters will have gone, given a server's limits and what of them is used: a simulation of the queue."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from panel.servers.windows import WINDOWS, Counts, Window
from panel.smtp.limits import Limits

STEPS: Final = 4000
"""After so many steps, days into the future, the rest is reckoned by the limits alone: a page waits for this."""


@dataclass(frozen=True, slots=True)
class Done:
    """When, in seconds since 1970, and the window that kept the letters waiting longest: None if none did."""

    at: float
    binding: Window | None


def done(
    count: int,
    *,
    limits: Limits,
    counts: Counts,
    now: float,
    speed: float,
    ahead: int = 0,
    not_before: float = 0.0,
    steps: int = STEPS,
) -> Done:
    """When `count` letters will have gone, each as soon as there is room for it and at most `speed` in a second.

    ahead: letters that wait already and go first; not_before: when the first of the others may go.
    """
    queue = _Queue(limits, counts, now, speed, steps)
    queue.work_off(ahead)
    if count > 0:
        queue.now = max(queue.now, not_before)
        queue.work_off(count)
    return Done(queue.now, queue.binding)


class _Queue:
    """Letters that go as there is room for them, and what they waited for."""

    def __init__(self, limits: Limits, counts: Counts, now: float, speed: float, steps: int) -> None:
        self.now = now
        self._speed, self._steps = speed, steps
        self._tracks = [
            _Track(window, limit, counts.get(window.length, {}))
            for window, limit in zip(WINDOWS, limits.rates, strict=True)
            if limit is not None and (limit < speed * (window.length + window.width) or counts.get(window.length))
        ]
        self._waited = {track.window: 0.0 for track in self._tracks}

    @property
    def binding(self) -> Window | None:
        """The window that kept them waiting longest."""
        longest = max(self._waited, key=lambda window: self._waited[window], default=None)
        return longest if longest and self._waited[longest] > 0 else None

    def work_off(self, count: int) -> None:
        """Lets so many go."""
        while count > 0 and self._tracks and self._steps > 0:
            self._steps -= 1
            count -= self._step(count)
        if count > 0:
            self._reckon(count)

    def _step(self, count: int) -> int:
        room = min(track.room(self.now) for track in self._tracks)
        if room <= 0:
            track = max(self._tracks, key=lambda track: track.frees_at(self.now))
            self._waited[track.window] += track.frees_at(self.now) - self.now
            self.now = track.frees_at(self.now)
            return 0
        # Not beyond the end of a bucket, so that each letter counts in the one it goes in.
        span = min(track.left_of_bucket(self.now) for track in self._tracks)
        some = max(1, min(count, room, int(self._speed * span)))
        for track in self._tracks:
            track.add(self.now, some)
        self.now += some / self._speed
        return some

    def _reckon(self, count: int) -> None:
        rates = {track.window: track.limit / (track.window.length + track.window.width) for track in self._tracks}
        slowest = min(rates, key=lambda window: rates[window], default=None)
        rate = min(self._speed, rates[slowest]) if slowest else self._speed
        if slowest and rate < self._speed:
            self._waited[slowest] += count / rate
        self.now += count / rate


class _Track:
    """One window while time goes on."""

    def __init__(self, window: Window, limit: int, buckets: Mapping[int, int]) -> None:
        self.window = window
        self.limit = limit
        self._buckets = deque(sorted((bucket, count) for bucket, count in buckets.items() if count > 0))
        self._used = sum(count for _, count in self._buckets)

    def room(self, now: float) -> int:
        oldest = self.window.bucket(now) - self.window.before
        while self._buckets and self._buckets[0][0] < oldest:
            self._used -= self._buckets.popleft()[1]
        return self.limit - self._used

    def add(self, now: float, count: int) -> None:
        bucket = self.window.bucket(now)
        if self._buckets and self._buckets[-1][0] >= bucket:
            last, already = self._buckets.pop()
            self._buckets.append((last, already + count))
        else:
            self._buckets.append((bucket, count))
        self._used += count

    def left_of_bucket(self, now: float) -> float:
        return (self.window.bucket(now) + 1) * self.window.width - now

    def frees_at(self, now: float) -> float:
        """When there is room for one; now, if there is."""
        excess = self._used - self.limit + 1
        for bucket, count in self._buckets:
            if excess <= 0:
                break
            excess -= count
            if excess <= 0:
                return self.window.frees_at(bucket)
        return now
