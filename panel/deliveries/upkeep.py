"""What the ticker does every few seconds: rings for what is due, and settles what a lost worker or time left behind."""

from __future__ import annotations

import uuid

import structlog
from sqlalchemy import CursorResult, and_, select, update

from panel import db, queue
from panel.config import Settings
from panel.deliveries import claims, screening
from panel.outbox import service as outbox
from panel.outbox import states
from panel.outbox.service import Attempt, Delivery
from panel.servers import service as servers

log = structlog.get_logger(__name__)

# What a person holds (a paused blast) only a person frees, however long it takes.
_HELD_BY_ITSELF = and_(Delivery.state == "held", Delivery.reason.is_distinct_from(outbox.BLAST_PAUSED))


def tick(settings: Settings) -> None:
    """One round. In no scope; opens its own."""
    with db.system_scope("the ticker settles lapsed leases"):
        lapsed = settle_lapsed()
        expired = expire(settings.tuning.hold)
        accounts_with_holds = list(
            db.session().scalars(select(Delivery.account_id).where(Delivery.state == "held").distinct())
        )
    if lapsed or expired:
        log.info("settled", lapsed=lapsed, expired=expired)
    for account_id in accounts_with_holds:
        with db.account_scope(account_id):
            resume()
    with db.system_scope("the ticker looks for what is due"):
        due = bool(claims.lanes_due(busy=(), limit=1))
        db.release()
    if due:
        queue.ring_delivery()


def settle_lapsed() -> int:
    """A lapsed claim goes back to its queue; a lapsed `sending` becomes `uncertain`: its letter may have been taken."""
    lapsed = and_(Delivery.lease_until.is_not(None), Delivery.lease_until < db.clock())
    with db.transaction() as session:
        sending = list(
            session.execute(
                update(Delivery)
                .where(lapsed, Delivery.state == "sending")
                .values(state="uncertain", reason="worker_lost", lease_owner=None, lease_until=None)
                .returning(Delivery.id, Delivery.fence)
                .execution_options(synchronize_session=False)
            )
        )
        waiting = list(
            session.execute(
                update(Delivery)
                .where(lapsed, Delivery.state.in_(states.DUE))
                .values(lease_owner=None, lease_until=None)
                .returning(Delivery.id, Delivery.fence)
                .execution_options(synchronize_session=False)
            )
        )
        for outcome, rows in (("uncertain", sending), ("lost", waiting)):
            for delivery_id, fence in rows:
                session.execute(
                    update(Attempt)
                    .where(Attempt.delivery_id == delivery_id, Attempt.fence == fence, Attempt.ended_at.is_(None))
                    .values(ended_at=db.now(), outcome=outcome)
                    .execution_options(synchronize_session=False)
                )
    return len(sending) + len(waiting)


def expire(hold: float) -> int:
    """Ends what is of no use any more, and what has been held for too long (seconds)."""
    waiting = Delivery.state.in_((*states.DUE, "held"))
    unclaimed = Delivery.lease_until.is_(None)
    return _count(
        update(Delivery)
        .where(waiting, unclaimed, Delivery.expires_at < db.clock())
        .values(state="expired", reason="too_late_to_be_of_use")
    ) + _count(
        update(Delivery)
        .where(_HELD_BY_ITSELF, unclaimed, Delivery.made_at < db.clock(-hold))
        .values(state="expired", reason="held_too_long")
    )


def resume() -> int:
    """Frees this account's held deliveries whose reason is gone, oldest first. In the account's scope."""
    servers.end_pauses()
    if screening.suspended():
        return 0
    freed = 0
    held = select(Delivery.address_id).where(Delivery.state == "held").distinct()
    for address_id in list(db.session().scalars(held)):
        route = servers.route_of(address_id)
        stuck = route.paused and not route.fallback
        full = route.kind == "platform" and screening.platform_limit_reached()
        if not stuck and not full:
            freed += _free(address_id)
    return freed


def _free(address_id: uuid.UUID | None) -> int:
    of_route = Delivery.address_id.is_(None) if address_id is None else Delivery.address_id == address_id
    return _count(
        update(Delivery)
        .where(_HELD_BY_ITSELF, of_route)
        .values(state="queued", reason=None, next_attempt_at=db.clock())
    )


def _count(statement: object) -> int:
    with db.transaction() as session:
        result = session.execute(statement.execution_options(synchronize_session=False))  # type: ignore[attr-defined]
    assert isinstance(result, CursorResult)
    return result.rowcount
