"""Which deliveries a person means: the filter of the log, of what is done to all that it shows, and of its links."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import ColumnElement

from panel.accounts import service as accounts
from panel.outbox import states
from panel.outbox.service import Delivery

_LONGEST = 320  # an address


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """What to show; everything where nothing is said. The days are the account's own, both included."""

    state: str = ""
    kind: str = ""
    campaign_id: uuid.UUID | None = None
    blast_id: uuid.UUID | None = None
    to: str = ""
    since: dt.date | None = None
    until: dt.date | None = None

    @classmethod
    def read(cls, given: Mapping[str, str]) -> Filter:
        """What a query or a form says; what makes no sense says nothing."""
        state, kind = given.get("state", ""), given.get("kind", "")
        return cls(
            state=state if state in states.STATES else "",
            kind=kind if kind in states.KINDS else "",
            campaign_id=_uuid(given.get("campaign", "")),
            blast_id=_uuid(given.get("blast", "")),
            to=given.get("to", "").replace("\0", "")[:_LONGEST],
            since=_day(given.get("since", "")),
            until=_day(given.get("until", "")),
        )

    def as_query(self) -> dict[str, str]:
        """The same as a query has it; `read` reads it back."""
        given = {
            "state": self.state,
            "kind": self.kind,
            "campaign": self.campaign_id,
            "blast": self.blast_id,
            "to": self.to,
            "since": self.since,
            "until": self.until,
        }
        return {name: str(value) for name, value in given.items() if value}

    def conditions(self) -> list[ColumnElement[bool]]:
        """The same as a database has it. In the account's scope."""
        conditions: list[ColumnElement[bool]] = []
        if self.state:
            conditions.append(Delivery.state == self.state)
        if self.kind:
            conditions.append(Delivery.kind == self.kind)
        if self.campaign_id is not None:
            conditions.append(Delivery.campaign_id == self.campaign_id)
        if self.blast_id is not None:
            conditions.append(Delivery.blast_id == self.blast_id)
        if self.to:
            conditions.append(Delivery.to_address.contains(self.to.strip().lower(), autoescape=True))
        if self.since is not None:
            conditions.append(Delivery.made_at >= _begin(self.since))
        if self.until is not None:
            conditions.append(Delivery.made_at < _begin(self.until + dt.timedelta(days=1)))
        return conditions


def _begin(day: dt.date) -> dt.datetime:
    return dt.datetime.combine(day, dt.time(), tzinfo=accounts.zone())


def _uuid(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text)
    except ValueError:
        return None


def _day(text: str) -> dt.date | None:
    try:
        day = dt.date.fromisoformat(text)
    except ValueError:
        return None
    return day if 1970 <= day.year < 9999 else None  # what lies outside is no day that every zone knows
