"""Moving windows, counted in Redis: how often something may be done, and after how long it may be done again."""

from __future__ import annotations

import math
import time
from functools import lru_cache

import redis
import structlog
from limits import RateLimitItem, parse_many
from limits.storage import RedisStorage
from limits.strategies import MovingWindowRateLimiter

from panel import queue

log = structlog.get_logger(__name__)

_PREFIX = "ownpost:limit"


def hit(rates: str, *who: str) -> int | None:
    """Counts one; `rates` are such as "10/minute;100/day", `who` says of what and by whom.

    Returns None when it may be done, else the whole seconds after which to come back, and then it counts nothing more
    against the limit that refused. With Redis away it lets everybody pass: a limit must not be what stops work.
    """
    return _first_refusal(rates, who, count=True)


def spent(rates: str, *who: str) -> int | None:
    """As `hit`, but it only looks."""
    return _first_refusal(rates, who, count=False)


def forget(rates: str, *who: str) -> None:
    """Takes back all that was counted of them."""
    limiter = _limiter(queue.prompt_connection().connection_pool)
    try:
        for rate in parse_many(rates):
            limiter.clear(rate, *who)
    except redis.RedisError as error:
        _uncounted(who, error)


def _first_refusal(rates: str, who: tuple[str, ...], *, count: bool) -> int | None:
    # Whoever asks has a person or a program waiting: a Redis that does not answer at once counts as away.
    limiter = _limiter(queue.prompt_connection().connection_pool)
    try:
        for rate in _shortest_first(rates):
            if not (limiter.hit(rate, *who) if count else limiter.test(rate, *who)):
                wait = limiter.get_window_stats(rate, *who).reset_time - time.time()
                return max(1, math.ceil(wait))
    except redis.RedisError as error:
        _uncounted(who, error)
    return None


def _uncounted(who: tuple[str, ...], error: redis.RedisError) -> None:
    log.warning("limit not counted", who=who[0], error=type(error).__name__)


def _shortest_first(rates: str) -> list[RateLimitItem]:
    # What the shortest window refuses must not use up the longer ones.
    return sorted(parse_many(rates), key=lambda rate: rate.get_expiry())


@lru_cache(maxsize=2)
def _limiter(pool: redis.ConnectionPool) -> MovingWindowRateLimiter:
    # Kept, as making one reads its scripts anew; by the pool, as a process may be told of another Redis.
    return MovingWindowRateLimiter(RedisStorage("redis://", connection_pool=pool, key_prefix=_PREFIX))
