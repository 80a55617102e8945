"""Addresses that this account must not mail, and why."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, SQLColumnExpression, delete, exists, or_, select, tuple_
from sqlalchemy.exc import IntegrityError

from panel import db
from panel.accounts import service as accounts
from panel.message.addresses import normalise
from panel.suppressions.models import Suppression

__all__ = ["Suppression"]

UNSUBSCRIBED: Final = "unsubscribed"
BY_HAND: Final = "added_by_hand"

PAGE_SIZE: Final = 50

# SQLite takes 32,766 values in a statement; fewer keep the statement quick to prepare.
_AT_ONCE: Final = 500


@dataclass(frozen=True, slots=True)
class Page:
    """One page of the list, newest first. `older` is the cursor of the next page, or None at the end."""

    rows: list[Suppression]
    older: str | None


def is_suppressed(address: str, campaign_id: uuid.UUID | None) -> str | None:
    """Why this campaign must not mail the (normalised) address; None when it may.

    Without a campaign only what holds for all of the account's mail counts.
    """
    return suppressed_among([address], campaign_id).get(address)


def suppressed_among(addresses: Collection[str], campaign_id: uuid.UUID | None) -> dict[str, str]:
    """Those of the (normalised) addresses that this campaign must not mail, each with its reason."""
    found: dict[str, str] = {}
    for some in _slices(list(addresses)):
        wanted = select(Suppression.address, Suppression.reason).where(
            Suppression.address.in_(some), _concerns(campaign_id)
        )
        found.update((row.address, row.reason) for row in db.session().execute(wanted))
    return found


def stands_against(
    account_id: SQLColumnExpression[Any], address: SQLColumnExpression[str], campaign_id: SQLColumnExpression[Any]
) -> ColumnElement[bool]:
    """As a condition: true where this account must not mail the (normalised) address for this campaign (or null)."""
    return exists().where(
        Suppression.account_id == account_id,
        Suppression.address == address,
        or_(Suppression.campaign_id.is_(None), Suppression.campaign_id == campaign_id),
    )


def _slices(addresses: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(addresses), _AT_ONCE):
        yield addresses[start : start + _AT_ONCE]


def _concerns(campaign_id: uuid.UUID | None) -> ColumnElement[bool]:
    if campaign_id is None:
        return Suppression.campaign_id.is_(None)
    return or_(Suppression.campaign_id.is_(None), Suppression.campaign_id == campaign_id)


def _scope(campaign_id: uuid.UUID | None) -> ColumnElement[bool]:
    return Suppression.campaign_id.is_(None) if campaign_id is None else Suppression.campaign_id == campaign_id


def find(address: str, campaign_id: uuid.UUID | None) -> Suppression | None:
    """The suppression of the (normalised) address in exactly this scope; None means all campaigns."""
    return db.session().scalar(select(Suppression).where(Suppression.address == address, _scope(campaign_id)))


def has_unsubscribed(address: str, campaign_id: uuid.UUID | None) -> bool:
    """Whether the recipient has unsubscribed in exactly this scope."""
    row = find(address, campaign_id)
    return row is not None and row.reason == UNSUBSCRIBED


def get(suppression_id: uuid.UUID) -> Suppression:
    """One of this account's suppressions. Raises NotFound."""
    return db.owned(Suppression, suppression_id)


def add(
    address: str, *, campaign_id: uuid.UUID | None = None, reason: str = BY_HAND, source: str = ""
) -> tuple[Suppression, bool]:
    """Stops mail to an address, in one campaign or (without one) in all. Says whether it is new.

    A second time is fine. When the recipient unsubscribes, that becomes the reason, whatever it was before: it is their
    own word. Raises InvalidAddress.
    """
    normal = normalise(address)
    with db.transaction() as session:
        row = find(normal, campaign_id)
        if row is None:
            row = Suppression(address=normal, campaign_id=campaign_id, reason=reason, source=source[:200])
            try:
                with session.begin_nested():
                    session.add(row)
            except IntegrityError:
                # Somebody else added it a moment ago. What they wrote is visible now.
                found = find(normal, campaign_id)
                if found is None:
                    raise
                row = found
            else:
                return row, True
        if reason == UNSUBSCRIBED and row.reason != UNSUBSCRIBED:
            row.reason, row.source, row.made_at = UNSUBSCRIBED, source[:200], db.now()
    return row, False


def add_by_hand(
    address: str, campaign_id: uuid.UUID | None, *, user_id: uuid.UUID, ip: str
) -> tuple[Suppression, bool]:
    """An owner's own entry. Raises InvalidAddress."""
    with db.transaction():
        row, new = add(address, campaign_id=campaign_id)
        if new:
            accounts.audit("suppression.added", subject=row.address, user_id=user_id, ip=ip)
    return row, new


def lift(address: str, *, campaign_id: uuid.UUID | None) -> None:
    """Undoes an unsubscription in exactly this scope. A bounce, a complaint or an owner's entry stays."""
    with db.transaction() as session:
        session.execute(
            delete(Suppression).where(
                Suppression.address == address, Suppression.reason == UNSUBSCRIBED, _scope(campaign_id)
            )
        )


def remove(suppression_id: uuid.UUID, *, user_id: uuid.UUID, ip: str) -> Suppression:
    """Lets the account mail the address again, by an owner's decision. Raises NotFound."""
    with db.transaction() as session:
        row = db.owned(Suppression, suppression_id)
        session.delete(row)
        accounts.audit("suppression.removed", subject=row.address, user_id=user_id, ip=ip, reason=row.reason)
    return row


def page(*, search: str = "", before: str | None = None) -> Page:
    """The list, newest first. `search` is a part of an address; `before` a cursor that a page gave."""
    wanted = select(Suppression).order_by(Suppression.made_at.desc(), Suppression.id.desc()).limit(PAGE_SIZE + 1)
    if search := search.replace("\0", "").strip():
        wanted = wanted.where(Suppression.address.contains(search.lower(), autoescape=True))
    if cursor := _read_cursor(before):
        wanted = wanted.where(tuple_(Suppression.made_at, Suppression.id) < tuple_(*cursor))
    rows = list(db.session().scalars(wanted))
    more = len(rows) > PAGE_SIZE
    rows = rows[:PAGE_SIZE]
    return Page(rows=rows, older=_cursor(rows[-1]) if more else None)


def _cursor(row: Suppression) -> str:
    return f"{row.made_at:%Y%m%dT%H%M%S.%f}_{row.id.hex}"


def _read_cursor(text: str | None) -> tuple[dt.datetime, uuid.UUID] | None:
    """A cursor as `_cursor` wrote it; None for none, and for one that somebody made up."""
    try:
        made_at, _, key = (text or "").partition("_")
        return dt.datetime.strptime(made_at, "%Y%m%dT%H%M%S.%f").replace(tzinfo=dt.UTC), uuid.UUID(hex=key)
    except ValueError:
        return None
