"""Deliveries that wait for their server, or for their account: held and freed in pieces, the oldest first.

Each piece is a transaction of its own, so that whoever records a letter never waits for long. A row that somebody has
claimed, or is changing at this moment, is left out; the next round finds it.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import Any, Final

from sqlalchemy import ColumnElement, CursorResult, and_, case, false, func, or_, select, update

from panel import db
from panel.addresses import service as addresses
from panel.outbox import service as outbox
from panel.outbox import states
from panel.outbox.service import Delivery
from panel.servers.service import Route
from panel.sqlfunctions import moved_on

PIECE: Final = 2_000

# What a person holds (a paused blast) only a person frees, however long it takes.
BY_ITSELF: Final = Delivery.reason.is_distinct_from(outbox.BLAST_PAUSED)
# What waits for its turn within a daily limit takes as long as was forecast: its hold is no trouble, and has no end.
ENDS: Final = and_(BY_ITSELF, Delivery.reason.is_distinct_from(outbox.PLATFORM_LIMIT))
_BY_ACCOUNT: Final = Delivery.kind != "system"  # system letters take the platform server, always


def of_lanes(lanes: Iterable[uuid.UUID | None]) -> ColumnElement[bool]:
    """The deliveries of these outbound addresses. None: those that name none, or one that is gone: the default's."""
    wanted = list(lanes)
    known = [address.id for address in addresses.all_addresses()] if None in wanted else []
    return of_known_lanes(wanted, known)


def of_known_lanes(lanes: Iterable[uuid.UUID | None], known: Iterable[uuid.UUID]) -> ColumnElement[bool]:
    """The same for whoever has the ids of all of the account's outbound addresses."""
    wanted = list(lanes)
    named = [lane for lane in wanted if lane is not None]
    conditions: list[ColumnElement[bool]] = [Delivery.address_id.in_(named)] if named else []
    if None in wanted:
        conditions += [Delivery.address_id.is_(None), Delivery.address_id.not_in(list(known))]
    return or_(false(), *conditions)


def of_server(route: Route) -> ColumnElement[bool]:
    """The deliveries that take this route's server. In the account's scope."""
    default = addresses.default()
    lanes = [route.address_id, *([None] if default is not None and default.id == route.address_id else [])]
    return of_lanes(lanes)


def of_change(state: str, *, spent: bool) -> dict[str, Any]:
    """What a change to `state` does to a delivery's times: how long it has been held, and trying on its own account.

    spent: whether the server answered for the letter's own sake. Whatever else happens while it tries a server that
    rested, its hold goes on.
    """
    if state == "held":
        return {"held_at": func.coalesce(Delivery.held_at, db.clock())}
    if not spent:
        return {}
    began = func.coalesce(moved_on(Delivery.trying_since, Delivery.held_at), Delivery.trying_since, db.clock())
    return {"held_at": None, **({"trying_since": began} if state == "deferred" else {})}


def hold(which: ColumnElement[bool], *, reason: str, limit: int) -> int:
    """Holds what of these is due and unclaimed, at most `limit`; says how many that were. In the account's scope."""
    held = 0
    is_due = Delivery.lease_until.is_(None), Delivery.next_attempt_at <= db.clock(), _BY_ACCOUNT, which
    if _is_none(Delivery.state.in_(states.DUE), *is_due):
        return 0
    for state in states.DUE:  # one after the other: so an index gives the oldest
        held_at = func.coalesce(Delivery.held_at, db.clock())
        with db.transaction() as session:
            oldest = _oldest(limit - held, Delivery.state == state, *is_due)
            ids = list(session.scalars(oldest))
            held += _run(
                update(Delivery)
                .where(Delivery.id.in_(ids), Delivery.state.in_(states.DUE), Delivery.lease_until.is_(None))
                .values(state="held", reason=reason, held_at=held_at),
                ids,
            )
    return held


def wait_for(which: ColumnElement[bool], *, reason: str, limit: int) -> int:
    """Says of what is held of these what it waits for by now, at most `limit`; says how many that were.

    What waited for its turn till now, and waits for trouble to end from now on, begins to be held.
    """
    turn = Delivery.reason == outbox.PLATFORM_LIMIT
    other: list[ColumnElement[bool]] = [Delivery.reason.is_distinct_from(reason), BY_ITSELF]
    if reason != outbox.PLATFORM_LIMIT:
        other.append(turn)
    if _is_none(outbox.IS_HELD, *other, which):
        return 0
    with db.transaction() as session:
        ids = list(session.scalars(_oldest(limit, outbox.IS_HELD, *other, which)))
        return _run(
            update(Delivery)
            .where(Delivery.id.in_(ids), Delivery.state == "held", *other)
            .values(reason=reason, held_at=case((turn, db.clock()), else_=Delivery.held_at)),
            ids,
        )


def free(which: ColumnElement[bool], *, limit: int) -> int:
    """Queues again what of these is held, at most `limit`, and says how many that were. In the account's scope.

    They keep their order: each piece is due later than the one before it, and within a piece the id decides. Their own
    trying time leaves the hold out.
    """
    if _is_none(outbox.IS_HELD, BY_ITSELF, which):
        return 0
    with db.transaction() as session:
        ids = list(session.scalars(_oldest(limit, Delivery.state == "held", BY_ITSELF, which)))
        return _run(
            update(Delivery)
            .where(Delivery.id.in_(ids), Delivery.state == "held")
            .values(
                state="queued",
                reason=None,
                next_attempt_at=db.clock(),
                trying_since=moved_on(Delivery.trying_since, Delivery.held_at),
                held_at=None,
            ),
            ids,
        )


def free_one_to_try(which: ColumnElement[bool]) -> bool:
    """Queues one of these that are held, unless one is on its way already. In the account's scope.

    It is the one that was claimed least, and the oldest of those: a letter that its server never takes does not keep
    the others from showing that it works. Its hold goes on meanwhile: `held_at` stays, so that its time is not begun
    anew if the server still does not work.
    """
    with db.transaction() as session:
        on_its_way = select(Delivery.id).where(Delivery.state.in_(("queued", "sending")), _BY_ACCOUNT, which).limit(1)
        if session.scalar(on_its_way) is not None:
            return False
        least_tried = _oldest(1, Delivery.state == "held", BY_ITSELF, which, by=(Delivery.fence, Delivery.id))
        ids = list(session.scalars(least_tried))
        freed = _run(
            update(Delivery)
            .where(Delivery.id.in_(ids), Delivery.state == "held")
            .values(state="queued", reason=None, next_attempt_at=db.clock()),
            ids,
        )
    return freed > 0


def expire(longest: float, *, limit: int) -> int:
    """Ends what has been held for longer than so many seconds, at most `limit`. In the account's scope."""
    old = Delivery.held_at < db.clock(-longest)
    with db.transaction() as session:
        ids = list(session.scalars(_oldest(limit, outbox.IS_HELD, ENDS, old, by=(Delivery.held_at,))))
        return _run(
            update(Delivery)
            .where(Delivery.id.in_(ids), Delivery.state == "held")
            .values(state="expired", reason="held_too_long", held_at=None),
            ids,
        )


def _is_none(*which: ColumnElement[bool]) -> bool:
    """Whether there is none of these, which is so at most rounds: found out without a lock."""
    return db.session().scalar(select(Delivery.id).where(*which).limit(1)) is None


def _oldest(limit: int, *which: ColumnElement[bool], by: Any = (Delivery.id,)) -> Any:
    # SQLite, which has one writer at a time, leaves the lock out.
    return select(Delivery.id).where(*which).order_by(*by).limit(limit).with_for_update(skip_locked=True)


def _run(statement: Any, ids: list[int]) -> int:
    if not ids:
        return 0
    result = db.session().execute(statement.execution_options(synchronize_session=False))
    assert isinstance(result, CursorResult)
    return result.rowcount
