"""The doorbell: RQ jobs that carry ids only.

The database is the truth. A job may be lost, doubled or late; the ticker rings again for whatever is due. So a Redis
that is away costs time, never a letter, and nothing here raises because of it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

import redis
import structlog
from redis.backoff import NoBackoff
from redis.retry import Retry
from rq import Queue
from rq.serializers import JSONSerializer

from panel import db

log = structlog.get_logger(__name__)

INTERACTIVE: Final = "interactive"
DELIVERY: Final = "delivery"
HOUSEKEEPING: Final = "housekeeping"
QUEUES: Final = (INTERACTIVE, DELIVERY, HOUSEKEEPING)

# A job of these does nothing that its row does not say; what is left of it is of no use to anyone after this (seconds).
_RESULT_TTL = 0
_FAILURE_TTL = 86_400
_PROMPT = 1.0  # seconds within which Redis answers, or counts as away

_CHANNEL: Final = "ownpost:delivery"  # a message for each ring; what it says is of no matter

_connections: dict[str, redis.Redis] = {}


def configure(redis_url: str) -> None:
    """Says which Redis this process uses. Opens no connection yet."""
    _connections["main"] = redis.Redis.from_url(redis_url, socket_connect_timeout=2, health_check_interval=30)
    _connections["ear"] = redis.Redis.from_url(redis_url, socket_connect_timeout=2)
    _connections["prompt"] = redis.Redis.from_url(
        redis_url,
        socket_connect_timeout=_PROMPT,
        socket_timeout=_PROMPT,
        health_check_interval=30,
        retry=Retry(NoBackoff(), 1),
    )


def connection() -> redis.Redis:
    """The Redis of this process."""
    return _connections["main"]


def prompt_connection() -> redis.Redis:
    """The same Redis, for those who have another way when it does not answer at once."""
    return _connections["prompt"]


def queue(name: str) -> Queue:
    """One of QUEUES. JSON, never pickle: whoever can write to Redis must not be able to run code here."""
    return Queue(name, connection=connection(), serializer=JSONSerializer)


def ring(name: str, job: str, *ids: str | int, timeout: int = 60, expires: int | None = None) -> bool:
    """Enqueues `job` (a dotted path under `jobs.`) with ids as its only arguments.

    timeout: seconds that it may run (-1: no limit); expires: seconds after which nobody need take it up any more.
    Returns whether Redis took it.
    """
    try:
        queue(name).enqueue_call(
            job,
            args=ids,
            timeout=timeout,
            ttl=expires,
            result_ttl=_RESULT_TTL,
            failure_ttl=_FAILURE_TTL,
            description=job,
        )
    except redis.RedisError as error:
        log.warning("doorbell not rung", queue=name, job=job, error=type(error).__name__)
        return False
    return True


def ring_delivery() -> bool:
    """Rings for the delivery workers: those at work hear it at once. Unless a ring that nobody has taken up yet is
    waiting, a job for another one is enqueued.

    A job that is still in the queue starts after the commit that this ring stands for, so it will see its rows.
    """
    try:
        with connection().pipeline(transaction=False) as both:
            both.publish(_CHANNEL, "")
            both.llen(queue(DELIVERY).key)
            _, waiting = both.execute(raise_on_error=False)  # who may not publish still has jobs
        if isinstance(waiting, redis.RedisError):
            raise waiting
        if waiting:
            return True
    except redis.RedisError as error:
        log.warning("doorbell not rung", queue=DELIVERY, error=type(error).__name__)
        return False
    return ring(DELIVERY, "jobs.delivery.drain", timeout=-1)


class Ear(threading.Thread):
    """Hears each ring for the delivery workers, from when it starts until it is told to end.

    Rings while Redis is away are missed, so whoever has one looks now and then without one.
    """

    def __init__(self, heard: Callable[[], None]) -> None:
        super().__init__(name="ear", daemon=True)
        self._heard = heard
        self._over = threading.Event()

    def run(self) -> None:
        while not self._over.is_set():
            try:
                self._listen()
            except redis.RedisError:
                self._over.wait(_PROMPT)

    def end(self) -> None:
        """Asks it to end, which takes a second at most."""
        self._over.set()

    def _listen(self) -> None:
        client = _connections["ear"]  # which closes its connections with the last who has it
        with client.pubsub(ignore_subscribe_messages=True) as rings:  # type: ignore[no-untyped-call]  # redis-py's own
            rings.subscribe(_CHANNEL)
            while not self._over.is_set():
                if rings.get_message(timeout=_PROMPT):
                    self._heard()


def ring_delivery_after_commit() -> None:
    """Rings for the delivery workers once the current transaction is committed."""
    db.after_commit(ring_delivery)
