"""Claims: which worker may send which delivery, until when.

A claim is a lease on the database's clock and a fence that grows with every claim. It changes no state: `sending`
begins with the commit just before a letter's body flows. Whoever holds an old fence can change nothing any more.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import ColumnElement, and_, func, or_, select, update

from panel import db
from panel.outbox import states
from panel.outbox.service import Delivery


@dataclass(frozen=True, slots=True)
class LaneKey:
    """Deliveries of one account that take the same route."""

    account_id: uuid.UUID
    address_id: uuid.UUID | None


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to try one delivery once."""

    delivery_id: int
    account_id: uuid.UUID
    fence: int
    owner: str


class LeaseLost(Exception):
    """Somebody else may have the delivery by now: nothing may be sent or recorded for it."""


def _free() -> ColumnElement[bool]:
    return or_(Delivery.lease_until.is_(None), Delivery.lease_until < db.clock())


def _due() -> ColumnElement[bool]:
    return and_(Delivery.state.in_(states.DUE), Delivery.next_attempt_at <= db.clock(), _free())


def lanes_due(*, busy: Collection[LaneKey], limit: int) -> list[LaneKey]:
    """Lanes with something due, the most urgent and longest waiting first, without the busy ones. In a system scope."""
    query = (
        select(Delivery.account_id, Delivery.address_id)
        .where(_due())
        .group_by(Delivery.account_id, Delivery.address_id)
        .order_by(func.min(Delivery.priority), func.min(Delivery.next_attempt_at))
        .limit(limit + len(busy))
    )
    found = [LaneKey(*row) for row in db.session().execute(query)]
    return [key for key in found if key not in busy][:limit]


def claim(key: LaneKey, *, owner: str, limit: int, lease: float) -> list[Claim]:
    """Claims up to `limit` due deliveries of a lane. In a system scope."""
    of_lane = Delivery.address_id.is_(None) if key.address_id is None else Delivery.address_id == key.address_id
    wanted = (
        select(Delivery.id)
        .where(Delivery.account_id == key.account_id, of_lane, _due())
        .order_by(Delivery.priority, Delivery.next_attempt_at, Delivery.id)
        .limit(limit)
        .with_for_update(skip_locked=True)  # SQLite, which has one writer at a time, leaves it out
    )
    with db.transaction() as session:
        ids = list(session.scalars(wanted))
        return _take(ids, owner=owner, lease=lease)


def claim_one(delivery_id: int, *, owner: str, lease: float) -> Claim | None:
    """Claims this delivery, whenever its next attempt would be; None if it is not waiting or somebody has it."""
    wanted = (
        select(Delivery.id)
        .where(Delivery.id == delivery_id, Delivery.state.in_(states.DUE), _free())
        .with_for_update(skip_locked=True)
    )
    with db.transaction() as session:
        taken = _take(list(session.scalars(wanted)), owner=owner, lease=lease)
    return taken[0] if taken else None


def _take(ids: list[int], *, owner: str, lease: float) -> list[Claim]:
    if not ids:
        return []
    taken = db.session().execute(
        update(Delivery)
        .where(Delivery.id.in_(ids))
        .values(lease_owner=owner, lease_until=db.clock(lease), fence=Delivery.fence + 1)
        .returning(Delivery.id, Delivery.account_id, Delivery.fence)
        .execution_options(synchronize_session=False)
    )
    order = {delivery_id: place for place, delivery_id in enumerate(ids)}
    claims = [Claim(row.id, row.account_id, row.fence, owner) for row in taken]
    return sorted(claims, key=lambda claim: order[claim.delivery_id])


def renew(delivery_ids: Collection[int], *, owner: str, lease: float) -> None:
    """Lengthens this owner's leases on these. One that was taken from it stays taken. In a system scope."""
    with db.transaction() as session:
        session.execute(
            update(Delivery)
            .where(Delivery.id.in_(delivery_ids), Delivery.lease_owner == owner)
            .values(lease_until=db.clock(lease))
            .execution_options(synchronize_session=False)
        )


def release(claims: Collection[Claim]) -> None:
    """Gives back claims whose letters were not begun. In a system scope."""
    if not claims:
        return
    with db.transaction() as session:
        for claim in claims:
            session.execute(
                update(Delivery)
                .where(held_by(claim), Delivery.state.in_(states.DUE))
                .values(lease_owner=None, lease_until=None)
                .execution_options(synchronize_session=False)
            )


def held_by(claim: Claim) -> ColumnElement[bool]:
    """True of the claimed row while the claim is good."""
    return and_(Delivery.id == claim.delivery_id, Delivery.fence == claim.fence, Delivery.lease_owner == claim.owner)
