"""Deliveries by the thousand: put into the outbox in one statement, held, freed and canceled in pieces."""

from __future__ import annotations

import datetime as dt
import time
import uuid
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, CursorResult, Integer, Select, String, Uuid, case, func, literal, select, update

from panel import db, queue
from panel.outbox import states
from panel.outbox.models import Delivery
from panel.sqlfunctions import moved_on, random_hex

BLAST_PAUSED: Final = "blast_paused"
"""Why a delivery is held that only a person frees: not the ticker, and no server that works again."""

_AT_ONCE: Final = 2_000
"""Rows that one transaction changes, so that whoever records a letter never waits for long."""

_WAITING: Final = (*states.DUE, "held")
_LOOK: Final = 0.02  # seconds until letters that somebody is changing are looked at again


@dataclass(frozen=True, slots=True, kw_only=True)
class ManyOrders:
    """What the letters of a blast have in common."""

    blast_id: uuid.UUID
    from_domain: str
    campaign_id: uuid.UUID
    address_id: uuid.UUID | None
    notification_version_id: uuid.UUID
    priority: int


def put_all(orders: ManyOrders, rows: Select[Any]) -> int:
    """Adds a queued delivery for each row in the current transaction, in one statement, and says how many.

    `rows` selects `participant_id`, `to_address` and `values` of this account. Each delivery gets a Message-ID of its
    own; the Date is the same for all. The doorbell rings once the transaction is committed.
    """
    made = db.now()
    count = db.insert_selected(Delivery, rows.add_columns(*_common(orders, made)))
    if count:
        queue.ring_delivery_after_commit()
    return count


def _common(orders: ManyOrders, made: dt.datetime) -> list[ColumnElement[Any]]:
    def identifier(value: uuid.UUID | None) -> ColumnElement[Any]:
        return literal(value, Uuid(as_uuid=True))

    def time(value: dt.datetime) -> ColumnElement[Any]:
        return literal(value, db.UtcDateTime())

    message_id = literal("<", String()) + random_hex() + literal(f"@{orders.from_domain}>", String())
    columns: dict[str, ColumnElement[Any]] = {
        "kind": literal("blast", String()),
        "blast_id": identifier(orders.blast_id),
        "campaign_id": identifier(orders.campaign_id),
        "address_id": identifier(orders.address_id),
        "notification_version_id": identifier(orders.notification_version_id),
        "message_id": message_id,
        "date": time(made.replace(microsecond=0)),
        "made_at": time(made),
        "state": literal("queued", String()),
        "priority": literal(orders.priority, Integer()),
        "next_attempt_at": db.clock(),
        "attempts": literal(0, Integer()),
        "fence": literal(0, Integer()),
    }
    return [column.label(name) for name, column in columns.items()]


def counts_of_blast(blast_id: uuid.UUID) -> dict[str, int]:
    """How many of a blast's letters are in which state. Read from an index alone."""
    wanted = select(Delivery.state, func.count()).where(Delivery.blast_id == blast_id).group_by(Delivery.state)
    return {row[0]: row[1] for row in db.session().execute(wanted)}


def pause_blast(blast_id: uuid.UUID, *, as_long_as: Select[Any], patience: float = 0.0) -> int:
    """Holds what of a blast has not begun to leave, until a person frees it; says how many letters that were.

    as_long_as: selects a row while that is wanted; each piece asks, and nobody changes that row until it is committed.
    So whoever is late undoes nothing that a person has said since. What somebody is changing at this moment, as a
    worker that claims a batch, is left out, so that no lock waits for another: it is looked at again for up to
    `patience` seconds, and come again for what is left.
    """
    elsewhere = Delivery.reason.is_distinct_from(BLAST_PAUSED)
    held_at = func.coalesce(Delivery.held_at, db.clock())
    # Whoever has claimed a letter has put its next attempt off until the claim lapses. It was due: since it was made,
    # or, where it had been tried before, since now, as what follows is no part of its trying.
    was_due = case((Delivery.trying_since.is_(None), Delivery.made_at), else_=db.clock())
    next_attempt_at = case((Delivery.lease_until.is_not(None), was_due), else_=Delivery.next_attempt_at)
    return _in_pieces(
        blast_id,
        as_long_as,
        _WAITING,
        "held",
        elsewhere,
        patience,
        reason=BLAST_PAUSED,
        held_at=held_at,
        next_attempt_at=next_attempt_at,
        lease_owner=None,
        lease_until=None,
    )


# What is due stays due since then, and whoever claims it leaves that out of its trying: here it would count twice.
_TRYING_WITHOUT_THE_HOLD: Final = case(
    (Delivery.next_attempt_at <= Delivery.held_at, Delivery.trying_since),
    (
        Delivery.next_attempt_at < db.clock(),
        moved_on(Delivery.trying_since, Delivery.held_at, Delivery.next_attempt_at),
    ),
    else_=moved_on(Delivery.trying_since, Delivery.held_at),
)


def resume_blast(blast_id: uuid.UUID, *, as_long_as: Select[Any], patience: float = 0.0) -> int:
    """Queues again what `pause_blast` holds, each in its old place, and rings. The rest: as there."""
    freed = _in_pieces(
        blast_id,
        as_long_as,
        ("held",),
        "queued",
        Delivery.reason == BLAST_PAUSED,
        patience,
        reason=None,
        held_at=None,
        trying_since=_TRYING_WITHOUT_THE_HOLD,
    )
    if freed:
        queue.ring_delivery()
    return freed


def cancel_blast(blast_id: uuid.UUID, *, as_long_as: Select[Any], reason: str, patience: float = 0.0) -> int:
    """Cancels what of a blast has not begun to leave. As with `pause_blast`, come again for what is left."""
    ended = {"reason": reason, "held_at": None, "lease_owner": None, "lease_until": None}
    return _in_pieces(blast_id, as_long_as, _WAITING, "canceled", None, patience, **ended)


def _in_pieces(
    blast_id: uuid.UUID,
    as_long_as: Select[Any],
    before: tuple[str, ...],
    after: str,
    which: ColumnElement[bool] | None,
    patience: float,
    **row: Any,
) -> int:
    """Changes rows of a blast that are in one of the states `before`, oldest first, a transaction for each piece."""
    for state in before:
        if state != after:  # what is held for another reason changes its reason only
            states.check(state, after)
    still = Delivery.state.in_(before), *(() if which is None else (which,))
    # All at once: to look for the next piece each time would read over and over what has been changed already.
    those = select(Delivery.id).where(Delivery.blast_id == blast_id, *still).order_by(Delivery.id)
    end, changed = time.monotonic() + patience, 0
    while ids := list(db.session().scalars(those)):
        done, wanted = _round(ids, as_long_as, still, {"state": after, **row})
        changed += done
        if not wanted or time.monotonic() >= end:
            break
        if done < len(ids):
            time.sleep(_LOOK)
    return changed


def _round(
    ids: list[int], as_long_as: Select[Any], still: tuple[ColumnElement[bool], ...], row: dict[str, Any]
) -> tuple[int, bool]:
    """Changes what of these nobody else is changing; says how many that were, and whether it is wanted still."""
    changed = 0
    for start in range(0, len(ids), _AT_ONCE):
        # By the ids alone: a planner that knows little of so young rows would read the whole blast for each piece.
        piece = select(Delivery.id).where(Delivery.id.in_(ids[start : start + _AT_ONCE]), *still)
        with db.transaction() as session:
            if session.scalar(as_long_as.with_for_update(read=True)) is None:
                return changed, False
            # Whoever records letters locks several, too: to wait for one of them could be to wait for each other.
            free = list(session.scalars(piece.with_for_update(skip_locked=True)))
            statement = update(Delivery).where(Delivery.id.in_(free), *still).values(**row)
            result = session.execute(statement.execution_options(synchronize_session=False))
        assert isinstance(result, CursorResult)
        changed += result.rowcount
    return changed, True


def is_blast_over(blast_id: uuid.UUID) -> bool:
    """Whether nothing of a blast is waiting or on its way any more."""
    wanted = select(Delivery.id).where(Delivery.blast_id == blast_id, Delivery.state.in_((*_WAITING, "sending")))
    return db.session().scalar(wanted.limit(1)) is None
