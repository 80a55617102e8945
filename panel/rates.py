"""Moving windows, counted in Redis: how often something may be done, and after how long it may be done again.

With Redis away, or so full that it takes nothing more, what is counted lets everybody pass: a limit must not be what
stops work. Guesses at secrets are the exception: each process notes those that it saw, and then goes by that.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Final
from weakref import WeakKeyDictionary

import redis
import structlog
from limits import RateLimitItem, parse_many
from limits.storage import RedisStorage
from limits.strategies import MovingWindowRateLimiter

from panel import queue
from panel.windows import Windows

log = structlog.get_logger(__name__)

_PREFIX: Final = "ownpost:limit"
_AFTER_SILENCE: Final = 5.0  # seconds in which nobody asks a Redis that let somebody wait for nothing

_silent: WeakKeyDictionary[redis.ConnectionPool, float] = WeakKeyDictionary()  # until when, by time.monotonic()


def hit(rates: str, *who: str, guess: bool = False) -> int | None:
    """Counts one; `rates` are such as "10/minute;100/day", `who` says of what and by whom.

    guess: whether it tries a secret, which is counted without Redis too.
    Returns None when it may be done, else the whole seconds after which to come back, and then it counts nothing more
    against the limit that refused.
    """
    # What the shortest window refuses must not use up the longer ones.
    left, pool = _shortest_first(rates), _pool()
    with _asking(who) as limiter:
        while left:
            if not limiter().hit(left[0], *who):
                return _wait(left[0], who)
            rate = left.pop(0)
            if guess:
                _windows(pool).note(rate, who)
    waits = (_windows(pool).hit(rate, who) for rate in left if guess)
    return next((_whole(wait) for wait in waits if wait is not None), None)


def spent(rates: str, *who: str) -> int | None:
    """As `hit`, but it only looks, and in Redis only."""
    with _asking(who) as limiter:
        for rate in _shortest_first(rates):
            if not limiter().test(rate, *who):
                return _wait(rate, who)
    return None


def give_back(rates: str, *who: str) -> None:
    """Takes back one of what was counted of them: what was counted before it was known whether it matters."""
    for rate in parse_many(rates):
        _windows(_pool()).give_back(rate, who)
    with _asking(who) as limiter:
        storage = limiter().storage
        assert isinstance(storage, RedisStorage)
        for rate in parse_many(rates):
            # The library has no way back. Its windows are lists of moments, the newest first: that of another who
            # came at almost the same moment is as good.
            storage.storage.lpop(storage.prefixed_key(rate.key_for(*who)))


def forget(rates: str, *who: str) -> None:
    """Takes back all that was counted of them."""
    for rate in parse_many(rates):
        _windows(_pool()).forget(rate, who)
    with _asking(who) as limiter:
        for rate in parse_many(rates):
            limiter().clear(rate, *who)


def _wait(rate: RateLimitItem, who: tuple[str, ...]) -> int:
    return _whole(_limiter(_pool()).get_window_stats(rate, *who).reset_time - time.time())


def _whole(seconds: float) -> int:
    return max(1, math.ceil(seconds))


@contextmanager
def _asking(who: tuple[str, ...]) -> Iterator[Callable[[], MovingWindowRateLimiter]]:
    """Gives what to ask Redis by. Where that cannot answer, the rest of the block is left out.

    A page asks of several limits: a Redis that hangs is waited for once, not once for each of them.
    """
    try:
        yield _answering
    except redis.RedisError as error:
        if isinstance(error, redis.TimeoutError):
            _silent[_pool()] = time.monotonic() + _AFTER_SILENCE
        log.warning("limit not counted", who=who[0], error=type(error).__name__)


def _answering() -> MovingWindowRateLimiter:
    if _silent.get(_pool(), 0.0) > time.monotonic():
        raise redis.ConnectionError("it did not answer a moment ago")
    return _limiter(_pool())


def _shortest_first(rates: str) -> list[RateLimitItem]:
    return sorted(parse_many(rates), key=lambda rate: rate.get_expiry())


def _pool() -> redis.ConnectionPool:
    # Whoever asks has a person or a program waiting: a Redis that does not answer at once counts as away.
    return queue.prompt_connection().connection_pool


@lru_cache(maxsize=2)
def _limiter(pool: redis.ConnectionPool) -> MovingWindowRateLimiter:
    # Kept, as making one reads its scripts anew; by the pool, as a process may be told of another Redis.
    return MovingWindowRateLimiter(RedisStorage("redis://", connection_pool=pool, key_prefix=_PREFIX))


@lru_cache(maxsize=2)
def _windows(_pool: redis.ConnectionPool) -> Windows:
    return Windows()
