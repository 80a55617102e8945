"""How the whole installation is doing, over all accounts: for machines that watch it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final

import redis
import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from sqlalchemy import func, or_, select
from sqlalchemy.exc import SQLAlchemyError

from panel import db, mark, queue
from panel.config import Settings
from panel.outbox import states
from panel.outbox.service import Delivery
from panel.servers import service as servers

log = structlog.get_logger(__name__)

TICKER_KEY: Final = "ownpost:ticker"
_OVERDUE: Final = 60.0  # seconds without a tick after which the ticker counts as dead, however often it should tick

# Of this process; whoever sums over processes gets all.
_REQUESTS: Final = Counter(
    "ownpost_http_requests", "Requests answered by this process", ["method", "status"], registry=None
)


@dataclass(frozen=True, slots=True)
class Vitals:
    """What is there: "ok", or words for what is wrong. `oldest_due_seconds` is None when the database is away."""

    database: str
    redis: str
    ticker: str
    oldest_due_seconds: float | None
    sending: str = "ok"

    @property
    def well(self) -> bool:
        """Whether everything is there."""
        return (self.database, self.redis, self.ticker, self.sending) == ("ok", "ok", "ok", "ok")


def look(settings: Settings) -> Vitals:
    """Asks the database, Redis and the ticker's last sign of life."""
    database, oldest, sending = _database()
    answering, ticker = _redis(max(_OVERDUE, 4 * settings.tuning.ticker))
    return Vitals(database=database, redis=answering, ticker=ticker, oldest_due_seconds=oldest, sending=sending)


def _database() -> tuple[str, float | None, str]:
    try:
        with db.system_scope("how the installation is doing"):
            return "ok", oldest_due_seconds(), "stopped: restored" if mark.stop() else "ok"
    except SQLAlchemyError as error:
        log.warning("the database does not answer", error=type(error).__name__)
        return "away", None, "unknown"


def _redis(overdue: float) -> tuple[str, str]:
    try:
        ticked = queue.connection().get(TICKER_KEY)
    except redis.RedisError as error:
        log.warning("Redis does not answer", error=type(error).__name__)
        return "away", "unknown"
    if not isinstance(ticked, bytes):
        return "ok", "never seen"
    return "ok", "ok" if time.time() - float(ticked) <= overdue else "overdue"


def oldest_due_seconds() -> float:
    """How long the delivery that is due longest, and that nobody has taken up, has been waiting. In a system scope."""
    now = db.now()
    due = select(func.min(Delivery.next_attempt_at)).where(
        Delivery.state.in_(states.DUE),
        Delivery.next_attempt_at <= now,
        or_(Delivery.lease_until.is_(None), Delivery.lease_until < now),
    )
    if resting := servers.resting():
        # What waits for a limit of its own server is where it should be; system letters wait for none.
        lane = func.coalesce(Delivery.address_id, Delivery.account_id)
        due = due.where(or_(lane.not_in(resting), Delivery.kind == "system"))
    oldest = db.session().scalar(due)
    return round((now - oldest).total_seconds(), 3) if oldest else 0.0


def count_request(method: str, status: int) -> None:
    """Notes an answered request."""
    _REQUESTS.labels(method if method in ("GET", "POST", "HEAD", "OPTIONS") else "other", str(status)).inc()


def exposition() -> bytes:
    """The figures in Prometheus' text format."""
    registry = CollectorRegistry()
    registry.register(_REQUESTS)
    by_state = Gauge("ownpost_deliveries", "Deliveries by state", ["state"], registry=registry)
    oldest = Gauge("ownpost_oldest_due_seconds", "Waiting time of the delivery that is due longest", registry=registry)
    with db.system_scope("how the installation is doing"):
        found = db.session().execute(select(Delivery.state, func.count()).group_by(Delivery.state))
        counted: dict[str, int] = {row[0]: row[1] for row in found}
        oldest.set(oldest_due_seconds())
    for state in states.STATES:
        by_state.labels(state).set(counted.get(state, 0))
    return generate_latest(registry)
