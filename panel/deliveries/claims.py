"""Claims: which worker may send which delivery, until when.

A claim is a lease on the database's clock and a fence that grows with every claim. It changes no state: `sending`
begins with the commit just before a letter's body flows. Whoever holds an old fence can change nothing any more.

A claimed row's `next_attempt_at` is the end of its lease. So it leaves the front of the queue, where everybody looks
for something due, and nobody reads it again only to find it taken.
"""

from __future__ import annotations

import datetime as dt
import json
import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Float,
    Integer,
    Select,
    SQLColumnExpression,
    Uuid,
    and_,
    bindparam,
    case,
    exists,
    func,
    null,
    or_,
    select,
    type_coerce,
    update,
)
from sqlalchemy.types import NullType

from panel import db, mark
from panel.outbox import states
from panel.outbox.service import PRIORITY, Attempt, Delivery
from panel.sqlfunctions import moved_on


@dataclass(frozen=True, slots=True)
class LaneKey:
    """Deliveries of one account that take the same route. System letters are a lane of their own: they take the
    platform server, whatever the account's own does."""

    account_id: uuid.UUID
    address_id: uuid.UUID | None
    system: bool = False

    @property
    def lane(self) -> uuid.UUID:
        """One id for it: the address's, or the account's for the default address; one made of it for system letters."""
        return uuid.uuid5(self.queue, "system letters") if self.system else self.queue

    @property
    def queue(self) -> uuid.UUID:
        """Where its deliveries stand, in the index."""
        return self.address_id or self.account_id

    @property
    def priorities(self) -> Sequence[int]:
        """Those of its deliveries."""
        return [one for one in PRIORITIES if (one == PRIORITY["system"]) is self.system]


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to try one delivery once."""

    delivery_id: int
    account_id: uuid.UUID
    fence: int
    owner: str


class LeaseLost(Exception):
    """Somebody else may have the delivery by now: nothing may be sent or recorded for it."""


@dataclass(slots=True)  # not frozen, which costs a microsecond a letter
class Claimed:
    """A claimed delivery, with what its letter and its screening need: names as in the table."""

    claim: Claim
    id: int
    kind: str
    campaign_id: uuid.UUID | None
    address_id: uuid.UUID | None
    notification_version_id: uuid.UUID | None
    participant_id: uuid.UUID | None
    to_address: str
    values: dict[str, Any]
    message_id: str
    date: dt.datetime
    expires_at: dt.datetime | None
    trying_since: dt.datetime | None
    held_at: dt.datetime | None
    attempts: int

    @property
    def account_id(self) -> uuid.UUID:
        """The account it belongs to."""
        return self.claim.account_id


PRIORITIES: Final = tuple(sorted(set(PRIORITY.values())))
# The words of the partial index have to stand in the statement itself, or no planner uses the index.
_WAITING: Final = Delivery.state.in_(bindparam("due", states.DUE, expanding=True, literal_execute=True))
_lane_of_row: Final[ColumnElement[uuid.UUID]] = func.coalesce(Delivery.address_id, Delivery.account_id)
_FREE: Final = Delivery.lease_until.is_(None)  # what lapsed is settled by the ticker first


def lanes_due(*, busy: Collection[uuid.UUID], limit: int) -> list[LaneKey]:
    """Lanes with something due, the most urgent and longest waiting first, but for those in `busy`.

    Leaps from lane to lane in the index, so that the number of deliveries does not matter. In a system scope. None
    while a database that was restored waits for a person's word.
    """
    rows = db.session().execute(_LANES_DUE, {"most": limit + len(busy)}).all()
    if not rows or not mark.may_send():
        return []
    keys = [
        LaneKey(account_id, None if queue == account_id else queue, is_system)
        for queue, account_id, system, others in rows
        for is_system, is_due in ((True, system), (False, others))
        if is_due
    ]
    return [key for key in keys if key.lane not in busy][:limit]


def is_due(lane: SQLColumnExpression[uuid.UUID]) -> ColumnElement[bool]:
    """Whether a lane, known as in `LaneKey.queue`, has something due; looked up in the index."""
    return exists().where(_WAITING, _lane_of_row == lane, Delivery.next_attempt_at <= db.clock())


def _lanes_due() -> Select[Any]:
    lanes = _all_lanes()
    firsts = [
        select(Delivery.next_attempt_at)
        .where(_WAITING, _lane_of_row == lanes.c.lane, Delivery.priority == priority)
        .order_by(Delivery.next_attempt_at)
        .limit(1)
        .scalar_subquery()
        for priority in PRIORITIES
    ]
    account = select(Delivery.account_id).where(_WAITING, _lane_of_row == lanes.c.lane).limit(1).scalar_subquery()
    columns = [first.label(f"first_{priority}") for priority, first in zip(PRIORITIES, firsts, strict=True)]
    firsts_of_lanes = select(lanes.c.lane, account.label("account_id"), *columns).where(lanes.c.lane.is_not(None))
    # The offset keeps PostgreSQL from putting each look-up into every place that names it, and planning it there anew.
    found = firsts_of_lanes.offset(0).subquery()
    of = {priority: found.c[f"first_{priority}"] for priority in PRIORITIES}
    due = {priority: of[priority] <= db.clock() for priority in PRIORITIES}
    urgency = case(*((due[priority], priority) for priority in PRIORITIES))
    since = case(*((due[priority], of[priority]) for priority in PRIORITIES))
    system = due[PRIORITY["system"]]
    others = or_(*(one for one in due.values() if one is not system))
    query = select(found.c.lane, found.c.account_id, system, others).where(or_(*due.values()))
    return query.order_by(urgency, since).limit(bindparam("most", type_=Integer()))


def _all_lanes() -> Any:
    """Every lane with something waiting, due or not: the smallest, then again and again the next larger one."""
    smallest = select(_lane_of_row).where(_WAITING).order_by(_lane_of_row).limit(1).scalar_subquery()
    lanes = select(smallest.label("lane")).cte("lanes", recursive=True)
    larger = select(_lane_of_row).where(_WAITING, _lane_of_row > lanes.c.lane)
    larger_one = larger.order_by(_lane_of_row).limit(1).scalar_subquery()
    return lanes.union_all(select(larger_one).where(lanes.c.lane.is_not(None)))


_LANES_DUE: Final = _lanes_due()


def claim(key: LaneKey, *, owner: str, limit: int, lease: float) -> list[Claimed]:
    """Claims up to `limit` due deliveries of a lane, most urgent and longest waiting first. In the account's scope."""
    with db.transaction() as session:
        if not mark.may_send():
            return []
        connection, ids = session.connection(), list[int]()
        wanted = {"in_lane": key.queue, "of_account": key.account_id}
        for priority in key.priorities:
            if len(ids) < limit:
                here = {"of_priority": priority, "most": limit - len(ids)}
                ids += connection.scalars(_NEXT, wanted | here)
        return _take(ids, owner=owner, lease=lease)


_NEXT: Final = (
    select(Delivery.id)
    .where(
        _WAITING,
        _lane_of_row == bindparam("in_lane", type_=Uuid()),
        Delivery.priority == bindparam("of_priority"),
        Delivery.next_attempt_at <= db.clock(),
        Delivery.account_id == bindparam("of_account", type_=Uuid()),
        _FREE,
    )
    .order_by(Delivery.next_attempt_at, Delivery.id)
    .limit(bindparam("most", type_=Integer()))
    .with_for_update(skip_locked=True)  # SQLite, which has one writer at a time, leaves it out
)


def claim_one(delivery_id: int, *, owner: str, lease: float) -> Claimed | None:
    """Claims this delivery, whenever its next attempt would be; None if it is not waiting or somebody has it."""
    wanted = (
        select(Delivery.id)
        .where(Delivery.id == delivery_id, Delivery.state.in_(states.DUE), _FREE)
        .with_for_update(skip_locked=True)
    )
    with db.transaction() as session:
        taken = _take(list(session.scalars(wanted)), owner=owner, lease=lease) if mark.may_send() else []
    return taken[0] if taken else None


def _take(ids: list[int], *, owner: str, lease: float) -> list[Claimed]:
    if not ids:
        return []
    connection = db.session().connection()
    # What an earlier holder began and did not end goes no further.
    connection.execute(_END_LOST, {"those": ids})
    rows = connection.execute(_TAKE, {"those": ids, "by": owner, "for_seconds": lease})
    taken = {one.id: one for one in (_claimed(row, owner) for row in rows)}
    return [taken[delivery_id] for delivery_id in ids]


def _claimed(row: Sequence[Any], owner: str) -> Claimed:
    (number, account, fence, campaign, address, version, participant, values, *texts, attempts) = row
    kind, to_address, message_id, date, expires_at, trying_since, held_at = texts
    return Claimed(
        claim=Claim(number, _id(account), fence, owner),
        id=number,
        kind=kind,
        campaign_id=campaign and _id(campaign),
        address_id=address and _id(address),
        notification_version_id=version and _id(version),
        participant_id=participant and _new_id(participant),
        to_address=to_address,
        values=json.loads(values) if isinstance(values, str) else values,
        message_id=message_id,
        date=_time(date),
        expires_at=expires_at and _time(expires_at),
        trying_since=trying_since and _time(trying_since),
        held_at=held_at and _time(held_at),
        attempts=attempts,
    )


def _new_id(value: str | uuid.UUID) -> uuid.UUID:
    return value if isinstance(value, uuid.UUID) else uuid.UUID(value)


# The letters of a batch have nearly all of these in common.
_id: Final = lru_cache(maxsize=1024)(_new_id)


@lru_cache(maxsize=1024)
def _time(value: str | dt.datetime) -> dt.datetime:
    if isinstance(value, str):
        return dt.datetime.fromisoformat(value).replace(tzinfo=dt.UTC)
    return value.astimezone(dt.UTC)


_END_LOST: Final = (
    update(Attempt)
    .where(Attempt.delivery_id.in_(bindparam("those", expanding=True)), Attempt.ended_at.is_(None))
    .values(ended_at=db.clock(), outcome="lost")
)
_LEASE: Final = db.clock(bindparam("for_seconds", type_=Float()))
# Once its next try is due, a letter waits for others: for its place in the queue, its server's limits, a worker. That
# is no trying of its own, so its trying begins later by as long. What is held has its time left out as a whole.
_OVERDUE: Final = and_(Delivery.held_at.is_(None), Delivery.next_attempt_at < db.clock())
_TRYING_SINCE: Final = case(
    (_OVERDUE, moved_on(Delivery.trying_since, Delivery.next_attempt_at)), else_=Delivery.trying_since
)
_TAKE: Final = (
    update(Delivery)
    .where(Delivery.id.in_(bindparam("those", expanding=True)))
    .values(
        lease_owner=bindparam("by"),
        lease_until=_LEASE,
        next_attempt_at=_LEASE,
        fence=Delivery.fence + 1,
        trying_since=_TRYING_SINCE,
    )
    # As the driver has them: what converts them otherwise does so anew for every letter.
    .returning(
        *(
            type_coerce(column, NullType())
            for column in (
                Delivery.id,
                Delivery.account_id,
                Delivery.fence,
                Delivery.campaign_id,
                Delivery.address_id,
                Delivery.notification_version_id,
                Delivery.participant_id,
                Delivery.values,
                Delivery.kind,
                Delivery.to_address,
                Delivery.message_id,
                Delivery.date,
                Delivery.expires_at,
                Delivery.trying_since,
                Delivery.held_at,
                Delivery.attempts,
            )
        )
    )
)


def renew(delivery_ids: Collection[int], *, owner: str, lease: float) -> None:
    """Lengthens this owner's leases on these. One that was taken from it stays taken. In a system scope."""
    with db.transaction() as session:
        for some in _slices(sorted(delivery_ids)):
            mine = select(Delivery.id).where(Delivery.id.in_(some), Delivery.lease_owner == owner)
            in_order = session.scalars(mine.order_by(Delivery.id).with_for_update())  # as everybody locks them
            session.execute(
                update(Delivery)
                .where(Delivery.id.in_(list(in_order)), Delivery.lease_owner == owner)
                .values(lease_until=db.clock(lease), next_attempt_at=db.clock(lease))
                .execution_options(synchronize_session=False)
            )


def _slices(ids: Sequence[int], size: int = 500) -> list[Sequence[int]]:
    return [ids[start : start + size] for start in range(0, len(ids), size)]


def release(given_back: Collection[Claim], *, wait: float = 0.0) -> None:
    """Gives back claims whose letters were not begun; they are due again after `wait` seconds."""
    if not given_back:
        return
    with db.transaction() as session:
        for claim in sorted(given_back, key=lambda one: one.delivery_id):
            session.execute(
                update(Delivery)
                .where(held_by(claim), Delivery.state.in_(states.DUE))
                .values(lease_owner=null(), lease_until=null(), next_attempt_at=db.clock(wait))
                .execution_options(synchronize_session=False)
            )


def held_by(claim: Claim) -> ColumnElement[bool]:
    """True of the claimed row while the claim is good."""
    return and_(
        Delivery.id == claim.delivery_id,
        Delivery.account_id == claim.account_id,
        Delivery.fence == claim.fence,
        Delivery.lease_owner == claim.owner,
    )
