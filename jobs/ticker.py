"""The ticker: rings for what a lost job left behind, whatever happened to Redis or to a worker."""

from __future__ import annotations

import signal
import threading
import time

import redis
import structlog
from sqlalchemy.exc import SQLAlchemyError

from panel import create_app, process, queue
from panel.blasts import service as blasts
from panel.config import Settings
from panel.data import service as data
from panel.deliveries import service as deliveries
from panel.participants import service as participants
from panel.settings import service as people

log = structlog.get_logger(__name__)

ALIVE_KEY = "ownpost:ticker"
_THOROUGH = 60.0  # seconds from one round to the next that leaves out nothing that seems to be in order


def run(settings: Settings) -> None:
    """Ticks until SIGTERM. What is away (the database, Redis) is tried again at the next tick."""
    app = create_app(settings)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    process.notify_ready()
    thorough_at = 0.0
    with app.app_context():
        while not stop.is_set():
            thorough = time.monotonic() >= thorough_at
            if thorough:
                thorough_at = time.monotonic() + _THOROUGH
            _tick(settings, thorough=thorough)
            stop.wait(settings.tuning.ticker)


def _tick(settings: Settings, *, thorough: bool = False) -> None:
    try:
        if deliveries.may_go_on(blasts_wait=blasts.is_any_scheduled):
            blasts.tick()
            deliveries.tick(settings, thorough=thorough)
            data.tick()
        people.tick()
        participants.tick()
        queue.connection().set(ALIVE_KEY, str(time.time()))
    except (SQLAlchemyError, redis.RedisError) as error:
        log.warning("a tick was missed", error=type(error).__name__)
