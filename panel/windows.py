"""Moving windows, counted in this process: what `panel.rates` goes by where Redis cannot answer."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from typing import Final

from limits import RateLimitItem

MOST: Final = 4_096  # windows of each kind


class Windows:
    """The latest hits of each who: at most MOST windows of a kind, of at most as many moments as their rate allows.

    Where there are more, the one that was asked about the longest ago is forgotten. Each kind has room of its own: who
    tries thousands of names makes nobody forget whose codes were tried.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kinds: dict[str, OrderedDict[str, deque[float]]] = {}

    def hit(self, rate: RateLimitItem, who: tuple[str, ...]) -> float | None:
        """Counts one and returns None; where it does not fit in, the seconds until one does."""
        with self._lock:
            hits, now = self._of(rate, who), time.time()
            if len(hits) == rate.amount and (wait := hits[0] + rate.get_expiry() - now) > 0:
                return wait
            hits.append(now)
            return None

    def note(self, rate: RateLimitItem, who: tuple[str, ...]) -> None:
        """Counts one that may be done whatever was counted here."""
        with self._lock:
            self._of(rate, who).append(time.time())

    def give_back(self, rate: RateLimitItem, who: tuple[str, ...]) -> None:
        """Takes the latest back."""
        with self._lock:
            if hits := self._of(rate, who):
                hits.pop()

    def forget(self, rate: RateLimitItem, who: tuple[str, ...]) -> None:
        """Takes all back."""
        with self._lock:
            self._kinds.get(who[0], OrderedDict()).pop(rate.key_for(*who), None)

    def _of(self, rate: RateLimitItem, who: tuple[str, ...]) -> deque[float]:
        kind = self._kinds.setdefault(who[0], OrderedDict())
        key = rate.key_for(*who)
        if key not in kind:
            kind[key] = deque(maxlen=rate.amount)
            if len(kind) > MOST:
                kind.popitem(last=False)
        kind.move_to_end(key)
        return kind[key]
