"""The list of a campaign's participants, newest first, page by page."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, and_, func, or_, select
from sqlalchemy.orm import aliased

from panel import db
from panel.participants.models import Participant

PAGE: Final = 50

_Referrer = aliased(Participant)


@dataclass(frozen=True, slots=True)
class Line:
    """A participant and, for a friend, the address of who referred them."""

    person: Participant
    referrer_email: str | None


@dataclass(frozen=True, slots=True)
class Page:
    """Some participants, and after (or before) whom the pages beside this one begin; None: there is none."""

    lines: list[Line]
    newer_than: uuid.UUID | None
    older_than: uuid.UUID | None


def page(
    campaign_id: uuid.UUID,
    *,
    search: str = "",
    older_than: uuid.UUID | None = None,
    newer_than: uuid.UUID | None = None,
) -> Page:
    """At most 50 participants whose address or name holds `search`. Raises NotFound for an unknown neighbour."""
    backwards = newer_than is not None
    wanted = (
        select(Participant, _Referrer.email)
        .outerjoin(_Referrer, _Referrer.id == Participant.referred_by)
        .where(Participant.campaign_id == campaign_id, *matching(search), *_beside(older_than, newer_than))
        .order_by(*_order(newest_first=not backwards))
        .limit(PAGE + 1)
    )
    found = [Line(person, email) for person, email in db.session().execute(wanted)]
    more, found = len(found) > PAGE, found[:PAGE]
    if backwards:
        found.reverse()
    has_newer, has_older = (more, True) if backwards else (older_than is not None, more)
    return Page(
        lines=found,
        newer_than=found[0].person.id if found and has_newer else None,
        older_than=found[-1].person.id if found and has_older else None,
    )


def count(campaign_id: uuid.UUID) -> int:
    """How many people are in the campaign."""
    wanted = select(func.count()).select_from(Participant).where(Participant.campaign_id == campaign_id)
    return db.session().scalar(wanted) or 0


def _order(*, newest_first: bool) -> tuple[ColumnElement[Any], ...]:
    if newest_first:
        return Participant.made_at.desc(), Participant.id.desc()
    return Participant.made_at.asc(), Participant.id.asc()


def matching(search: str) -> list[ColumnElement[bool]]:
    """Every word of the search is somewhere in the address or the names."""
    columns = (Participant.email, Participant.first_name, Participant.last_name)
    return [
        or_(*(column.icontains(word, autoescape=True) for column in columns))
        for word in search.replace("\0", "").split()[:5]
    ]


def _beside(older_than: uuid.UUID | None, newer_than: uuid.UUID | None) -> list[ColumnElement[bool]]:
    if older_than is not None:
        mark = db.owned(Participant, older_than)
        same_moment = and_(Participant.made_at == mark.made_at, Participant.id < mark.id)
        return [or_(Participant.made_at < mark.made_at, same_moment)]
    if newer_than is not None:
        mark = db.owned(Participant, newer_than)
        same_moment = and_(Participant.made_at == mark.made_at, Participant.id > mark.id)
        return [or_(Participant.made_at > mark.made_at, same_moment)]
    return []
