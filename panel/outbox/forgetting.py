"""What letters were made of, removed: of a recipient who is deleted, and of letters that are old.

The rows stay: how many letters went, when and how they ended is told as before, but not to whom or with what words.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, and_, func, null, select, update

from panel import db
from panel.outbox import states
from panel.outbox.models import Attempt, Delivery
from panel.redact import SOMEBODY

PIECE: Final = 1_000

_RECIPIENT_DELETED: Final = "recipient_deleted"
_OVER: Final = Delivery.state.not_in((*states.DUE, "held", "sending"))
_PEOPLE: Final = ("referrer", "friend")


class OnItsWay(Exception):
    """A letter to them is leaving at this moment."""


def cancel_for(participant_id: uuid.UUID) -> int:
    """Cancels what waits for a participant, in the current transaction; says how many letters that were."""
    waits = Delivery.state.in_((*states.DUE, "held")), Delivery.lease_until.is_(None)
    mine = select(Delivery.id).where(Delivery.participant_id == participant_id, *waits).order_by(Delivery.id)
    ids = list(db.session().scalars(mine.with_for_update()))
    db.session().execute(
        update(Delivery)
        .where(Delivery.id.in_(ids), Delivery.state.in_((*states.DUE, "held")))
        .values(state="canceled", reason=_RECIPIENT_DELETED, held_at=None)
        .execution_options(synchronize_session=False)
    )
    return len(ids)


def forget_recipient(participant_id: uuid.UUID) -> None:
    """Removes from their letters, in the current transaction, who they were to and what they said. Raises OnItsWay."""
    theirs = select(Delivery.id).where(Delivery.participant_id == participant_id)
    # Until there are none: whoever sends one again holds its row, so once that can be blanked the new one is there.
    while ids := list(db.session().scalars(theirs)):
        leaving = select(Delivery.id).where(Delivery.id.in_(ids), Delivery.state.in_((*states.DUE, "held", "sending")))
        if db.session().scalar(leaving.limit(1)) is not None:
            raise OnItsWay
        _blank(ids, to_address=SOMEBODY, participant_id=None)


def mentions_of(campaign_id: uuid.UUID, email: str, *, since: dt.datetime | None = None) -> list[int]:
    """The letters of a campaign, to others, whose values hold this person. Reads all of the campaign's, or all that
    were made since then."""
    made = [Delivery.made_at >= since] if since is not None else []
    tags = Delivery.values["tags"]
    named: list[ColumnElement[bool]] = [tags[f"{who}.email"].as_string() == email for who in _PEOPLE]
    found: set[int] = set()
    for condition in named:
        letters = select(Delivery.id).where(Delivery.campaign_id == campaign_id, condition, *made)
        found.update(db.session().scalars(letters))
    return sorted(found)


def forget_mentions(delivery_ids: Sequence[int], email: str) -> None:
    """Takes this person's values out of letters to others, in the current transaction."""
    for start in range(0, len(delivery_ids), PIECE):
        some = select(Delivery).where(Delivery.id.in_(delivery_ids[start : start + PIECE])).order_by(Delivery.id)
        letters = list(db.session().scalars(some.with_for_update()))
        for one in letters:
            one.values = _without(one.values, email)
        db.session().flush()
        for one in letters:  # there may be very many
            db.session().expunge(one)


def _without(values: dict[str, Any], email: str) -> dict[str, Any]:
    tags: dict[str, str] = dict(values.get("tags") or {})
    for who in _PEOPLE:
        if tags.get(f"{who}.email") == email:
            tags |= {name: "" for name in tags if name.startswith(f"{who}.")}
    return {**values, "tags": tags}


def blank_old(before: dt.datetime, *, after: int) -> tuple[int, int | None]:
    """Blanks a piece of this account's letters made before that time, of those with numbers above `after`.

    Returns how many were blanked, and the number up to which no letter has anything left; None when that is all that is
    old. A letter that still waits is left as it is, and looked at again the next time.
    """
    newest = db.session().scalar(
        select(Delivery.id)
        .where(Delivery.made_at < before)
        .order_by(Delivery.made_at.desc(), Delivery.id.desc())
        .limit(1)
    )
    db.release()
    if newest is None or newest <= after:
        return 0, None
    to_do = and_(_OVER, Delivery.blanked_at.is_(None))
    piece = select(Delivery.id, to_do).where(Delivery.id > after, Delivery.id <= newest, Delivery.made_at < before)
    with db.transaction() as session:
        found = session.execute(piece.order_by(Delivery.id).limit(PIECE)).all()
        ids = [number for number, wanted in found if wanted]
        _blank(ids)
    return len(ids), found[-1][0] if len(found) == PIECE else None


def first_waiting(*, after: int) -> int | None:
    """The first letter of this account with a number above `after` that is not over."""
    waits = Delivery.state.in_((*states.DUE, "held", "sending"))
    return db.session().scalar(select(func.min(Delivery.id)).where(Delivery.id > after, waits))


def _blank(ids: Sequence[int], **row: Any) -> None:
    session = db.session()
    for start in range(0, len(ids), PIECE):
        some = ids[start : start + PIECE]
        session.execute(
            update(Delivery)
            .where(Delivery.id.in_(some), Delivery.blanked_at.is_(None))
            .values(values={}, reply=None, blanked_at=db.clock(), **row)
            .execution_options(synchronize_session=False)
        )
        if row:  # what was blanked for its age before
            session.execute(
                update(Delivery).where(Delivery.id.in_(some)).values(**row).execution_options(synchronize_session=False)
            )
        session.execute(
            update(Attempt)
            .where(Attempt.delivery_id.in_(some))
            .values(reply=None, steps=null())
            .execution_options(synchronize_session=False)
        )
