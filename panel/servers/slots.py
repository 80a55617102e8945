"""How many connections to a mail server are open over all workers: each has a slot in Redis while it says so.

A provider that takes three connections takes three from all of our workers together. A slot that nobody renews, as its
worker is gone, is free again after `LASTS`. Without Redis each worker keeps to the limit by itself.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterable
from typing import Final

import redis
import structlog

from panel import queue
from panel.servers.routing import Route

log = structlog.get_logger(__name__)

LASTS: Final = 60.0
"""Seconds that a slot is held without being renewed, unless said: as long as a lease."""

# KEYS: the server's slots. ARGV: whose, the limit, how long. Members that are past their time are gone.
_TAKE: Final = """
local t = redis.call('TIME')
local now = tonumber(t[1]) + tonumber(t[2]) / 1000000
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
if redis.call('ZSCORE', KEYS[1], ARGV[1]) or redis.call('ZCARD', KEYS[1]) < tonumber(ARGV[2]) then
  redis.call('ZADD', KEYS[1], now + tonumber(ARGV[3]), ARGV[1])
  redis.call('EXPIRE', KEYS[1], math.ceil(tonumber(ARGV[3])))
  return 1
end
return 0
"""


def take_slot(route: Route, holder: str, *, lasts: float = LASTS) -> bool:
    """Whether one more connection to the route's own server may be opened now; if so, it is `holder`'s."""
    if route.server_id is None:
        return True
    try:
        taken = queue.prompt_connection().eval(
            _TAKE, 1, _key(route.server_id), holder, str(route.limits.connections), str(lasts)
        )
    except redis.RedisError as error:
        log.warning("connections are not counted over all workers", error=type(error).__name__)
        return True
    return bool(taken)


def keep_slots(held: Iterable[tuple[uuid.UUID, str]], *, lasts: float = LASTS) -> None:
    """Renews the slots of these servers and holders. Raises nothing."""
    try:
        client = queue.prompt_connection()
        seconds, microseconds = client.time()
        until = seconds + microseconds / 1e6 + lasts
        with client.pipeline(transaction=False) as pipe:
            for server_id, holder in held:
                pipe.zadd(_key(server_id), {holder: until})
                pipe.expire(_key(server_id), math.ceil(lasts))
            pipe.execute()
    except redis.RedisError as error:
        log.warning("connections are not counted over all workers", error=type(error).__name__)


def free_slot(server_id: uuid.UUID, holder: str) -> None:
    """Gives a slot back. Raises nothing: it lapses by itself."""
    try:
        queue.prompt_connection().zrem(_key(server_id), holder)
    except redis.RedisError as error:
        log.warning("connections are not counted over all workers", error=type(error).__name__)


def _key(server_id: uuid.UUID) -> str:
    return f"ownpost:connections:{server_id}"
