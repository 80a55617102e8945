"""How often an account may do what costs others something: a moving window, counted in Redis."""

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
    return _hit(settings.limit_tests, "tests", str(account_id))


def _hit(rates: str, *who: str) -> int | None:
    limiter = MovingWindowRateLimiter(
        RedisStorage("redis://", connection_pool=queue.connection().connection_pool, key_prefix=_PREFIX)
    )
    try:
        # The shortest window first: what it refuses must not use up the longer ones.
        for rate in sorted(parse_many(rates), key=lambda rate: rate.get_expiry()):
            if not limiter.hit(rate, *who):
                wait = limiter.get_window_stats(rate, *who).reset_time - time.time()
                return max(1, math.ceil(wait))
    except redis.RedisError as error:
        log.warning("limit not counted", who=who[0], error=type(error).__name__)
    return None
