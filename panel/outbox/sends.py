"""What went by a server and when, and what waits for it: the truth behind the counts that others keep."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Collection

from sqlalchemy import ColumnElement, Select, and_, bindparam, extract, func, or_, select
from sqlalchemy.orm import InstrumentedAttribute, aliased

from panel import db
from panel.outbox import states
from panel.outbox.many import BLAST_PAUSED
from panel.outbox.models import Attempt, Delivery

SYSTEM_PRIORITY = 2

# The words of the partial index have to stand in the statement itself, or no planner uses the index.
_DUE = Delivery.state.in_(bindparam("due", states.DUE, expanding=True, literal_execute=True))
_LANE = func.coalesce(Delivery.address_id, Delivery.account_id)


def sends(server_id: uuid.UUID | None, *, since: dt.datetime, width: int) -> dict[int, int]:
    """How many letters of the account went, or may have gone, by its mail server or (None) the platform server.

    By the number of the `width` seconds, counted since 1970, in which they went.
    """
    answered = _by_time(Delivery.sent_at, width).where(
        Delivery.sent_at > since, Delivery.state.in_(("sent", "bounced"))
    )
    # Where the server's answer is not known, the attempt's beginning stands for the time.
    unanswered = (
        _by_time(Attempt.started_at, width)
        .join(Attempt, and_(Attempt.delivery_id == Delivery.id, Attempt.fence == Delivery.fence))
        .where(Attempt.started_at > since)
    )
    uncertain = unanswered.where(Delivery.state == "uncertain")
    # A person had it sent again since: the server may have taken both.
    newer = aliased(Delivery)
    again = select(newer.resend_of).where(newer.resend_of.is_not(None), newer.made_at > since)
    resent = unanswered.where(Delivery.state == "canceled", Delivery.reason == "resent", Delivery.id.in_(again))
    counted: dict[int, int] = {}
    for query in (answered, uncertain, resent):
        for begin, count in db.session().execute(query.where(*_by(server_id))):
            number = int(begin) // width
            counted[number] = counted.get(number, 0) + count
    return counted


def _by_time(
    at: InstrumentedAttribute[dt.datetime] | InstrumentedAttribute[dt.datetime | None], width: int
) -> Select[int, int]:
    seconds = extract("epoch", at)
    begin = (seconds - seconds % width).label("begin")
    return select(begin, func.count()).select_from(Delivery).group_by("begin")


def _by(server_id: uuid.UUID | None) -> tuple[ColumnElement[bool], ...]:
    if server_id is not None:
        return (Delivery.server_id == server_id,)
    return (Delivery.server_id.is_(None), Delivery.kind != "system")


def in_flight(address_id: uuid.UUID, *, default: bool) -> int:
    """How many letters of an outbound address workers have claimed, whether their bodies flow already or not.

    default: it is the account's default one, whose route those take that name none.
    """
    claimed = _count(
        Delivery.lease_until.is_not(None), Delivery.kind != "system", _LANE.in_(_lanes(address_id, default))
    )
    # All claims of all accounts are few. With the account for a condition a planner would rather read all of its rows.
    with db.system_scope("claims are looked up by their own index") as session:
        return session.scalar(claimed) or 0


def lanes_in_flight() -> set[uuid.UUID]:
    """The lanes of all accounts of which workers have claimed letters, but for system letters. In a system scope."""
    lanes = select(_LANE).where(Delivery.lease_until.is_not(None), Delivery.kind != "system").distinct()
    return set(db.session().scalars(lanes))


def claimed(*, but_for: Collection[uuid.UUID]) -> int:
    """How many letters workers have claimed that take, or may take, the platform server: of no lane in `but_for`, and
    none that flows by another server."""
    flows = and_(Delivery.state == "sending", Delivery.server_id.is_(None))
    waits = and_(Delivery.state.in_(states.DUE), _LANE.not_in(but_for))
    # Each row has an account; said like this no planner reads all of its rows.
    mine = func.coalesce(Delivery.account_id, Delivery.address_id) == db.account_id()
    found = _count(Delivery.lease_until.is_not(None), Delivery.kind != "system", mine, or_(flows, waits))
    with db.system_scope("claims are looked up by their own index") as session:
        return session.scalar(found) or 0


def waiting(address_id: uuid.UUID, *, default: bool) -> int:
    """How many letters of an outbound address are still to go by themselves: those of a paused blast do not."""
    lanes = _lanes(address_id, default)
    goes = Delivery.reason.is_distinct_from(BLAST_PAUSED)
    aside = _count(Delivery.state.in_(("sending", "held")), Delivery.kind != "system", _LANE.in_(lanes), goes)
    found = db.session().scalar(aside) or 0
    # The lane says whose they are; with the account for a condition every one of maybe 100,000 rows would be read.
    with db.system_scope("what waits is counted in the index of lanes") as session:
        due = _count(_DUE, _LANE.in_(lanes), Delivery.priority != SYSTEM_PRIORITY)
        return found + (session.scalar(due) or 0)


def _lanes(address_id: uuid.UUID, default: bool) -> set[uuid.UUID]:
    return {address_id, db.account_id()} if default else {address_id}


def _count(*which: ColumnElement[bool]) -> Select[int]:
    return select(func.count()).select_from(Delivery).where(*which)
