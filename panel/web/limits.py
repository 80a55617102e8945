"""How often somebody may do what costs others something: a moving window, counted in Redis."""

from __future__ import annotations

import math
import time
import uuid

import redis
import structlog
from flask import current_app
from limits import parse_many
from limits.storage import RedisStorage
from limits.strategies import MovingWindowRateLimiter

from panel import queue
from panel.config import Settings

log = structlog.get_logger(__name__)

_PREFIX = "ownpost:limit"


def hit_tests(account_id: uuid.UUID) -> int | None:
    """Counts one connection test or test send of the account, by OWNPOST_LIMIT_TESTS.

    Returns None when it may go on, else the whole seconds after which to come back, and then it counts nothing more
    against the limit that refused. With Redis away it lets everybody pass: a limit must not be what stops work.
    """
    settings: Settings = current_app.extensions["ownpost"]
    return hit(settings.limit_tests, "tests", str(account_id))


def hit(rates: str, *who: str) -> int | None:
    """Counts one attempt of `who` at what the first of these names.

    Returns None when it may go on, else the whole seconds after which to come back. With Redis away everybody passes.
    """
    limiter = _limiter(queue.prompt_connection())
    try:
        return _first_full(limiter, rates, who, count=True)
    except redis.RedisError as error:
        _uncounted(who, error)
        return None


def wait(rates: str, *who: str) -> int | None:
    """What `hit` would return, without counting."""
    limiter = _limiter(queue.prompt_connection())
    try:
        return _first_full(limiter, rates, who, count=False)
    except redis.RedisError as error:
        _uncounted(who, error)
        return None


def forget(rates: str, *who: str) -> None:
    """Takes back all that was counted."""
    limiter = _limiter(queue.prompt_connection())
    try:
        for rate in parse_many(rates):
            limiter.clear(rate, *who)
    except redis.RedisError as error:
        _uncounted(who, error)


def _limiter(connection: redis.Redis) -> MovingWindowRateLimiter:
    return MovingWindowRateLimiter(
        RedisStorage("redis://", connection_pool=connection.connection_pool, key_prefix=_PREFIX)
    )


def _first_full(limiter: MovingWindowRateLimiter, rates: str, who: tuple[str, ...], *, count: bool) -> int | None:
    # The shortest window first: what it refuses must not use up the longer ones.
    for rate in sorted(parse_many(rates), key=lambda rate: rate.get_expiry()):
        if not (limiter.hit if count else limiter.test)(rate, *who):
            return max(1, math.ceil(limiter.get_window_stats(rate, *who).reset_time - time.time()))
    return None


def _uncounted(who: tuple[str, ...], error: redis.RedisError) -> None:
    log.warning("limit not counted", who=who[0], error=type(error).__name__)
