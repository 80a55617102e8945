"""Who changed what, when and from where: read, filtered, handed out. Written by `accounts.service.audit`."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, select, tuple_

from panel import db, spreadsheet
from panel.accounts import service as accounts
from panel.accounts.service import AuditEntry
from panel.audit import words
from panel.message.addresses import one_line

PAGE: Final = 50
_BATCH: Final = 500
_COLUMNS: Final = ("at", "actor kind", "actor", "ip", "action", "subject", "details")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A filter; what is empty does not filter. Days are those of the account's time zone."""

    actor: str = ""
    action: str = ""
    subject: str = ""
    since: dt.date | None = None
    until: dt.date | None = None

    @classmethod
    def read(cls, given: Mapping[str, str]) -> Wanted:
        """As an address of the page has it; what makes no sense does not filter."""
        return cls(
            actor=one_line(given.get("actor", "")).strip()[:320],
            action=one_line(given.get("action", "")).strip()[:64],
            subject=one_line(given.get("subject", "")).strip()[:200],
            since=_day(given.get("since", "")),
            until=_day(given.get("until", "")),
        )

    def as_query(self) -> dict[str, str]:
        """The same for an address."""
        days = {name: day.isoformat() for name, day in (("since", self.since), ("until", self.until)) if day}
        texts = {"actor": self.actor, "action": self.action, "subject": self.subject}
        return {name: value for name, value in texts.items() if value} | days

    def conditions(self) -> list[ColumnElement[bool]]:
        """What it asks of an entry."""
        found: list[ColumnElement[bool]] = []
        if self.actor:
            found.append(AuditEntry.actor == self.actor)
        if self.action:
            found.append(AuditEntry.action == self.action)
        if self.subject:
            found.append(AuditEntry.subject.icontains(self.subject, autoescape=True))
        if self.since:
            found.append(AuditEntry.at >= _begin(self.since))
        if self.until:
            found.append(AuditEntry.at < _begin(self.until + dt.timedelta(days=1)))
        return found


@dataclass(frozen=True, slots=True)
class Page:
    """Some entries, newest first; `older` is where the next page begins, or None at the end."""

    entries: list[AuditEntry]
    older: str | None


def _day(text: str) -> dt.date | None:
    try:
        day = dt.date.fromisoformat(text)
    except ValueError:
        return None
    return day if 1970 <= day.year < 9999 else None  # what lies outside is no day that every zone knows


def _begin(day: dt.date) -> dt.datetime:
    return dt.datetime.combine(day, dt.time(), tzinfo=accounts.zone())


def page(wanted: Wanted, *, before: str = "") -> Page:
    """At most 50 entries, newest first, from a cursor that an earlier page gave."""
    found = _entries(wanted, _read_cursor(before), PAGE + 1)
    more, found = len(found) > PAGE, found[:PAGE]
    return Page(found, _cursor(found[-1]) if more else None)


def actors() -> list[str]:
    """Everybody who is in the log."""
    return sorted(db.session().scalars(select(AuditEntry.actor).where(AuditEntry.actor != "").distinct()))


def actions() -> list[tuple[str, str]]:
    """Everything that is in the log, as it is called, with its words."""
    found = db.session().scalars(select(AuditEntry.action).distinct())
    return sorted(((name, words.action(name)) for name in found), key=lambda each: each[1])


def export(wanted: Wanted) -> Iterator[bytes]:
    """All entries of a filter as CSV, piece by piece. In the account's scope; the pieces open one each."""
    account_id = db.account_id()
    with db.transaction():
        accounts.audit("audit.exported", filter=wanted.as_query())
    return _pieces(account_id, wanted)


def _pieces(account_id: uuid.UUID, wanted: Wanted) -> Iterator[bytes]:
    yield spreadsheet.MARK + spreadsheet.rows([_COLUMNS])
    cursor: tuple[dt.datetime, uuid.UUID] | None = None
    while True:
        with db.account_scope(account_id):
            entries = _entries(wanted, cursor, _BATCH)
            rows = [_row(entry) for entry in entries]
        if not rows:
            return
        cursor = entries[-1].at, entries[-1].id
        yield spreadsheet.rows(rows)


def _entries(wanted: Wanted, before: tuple[dt.datetime, uuid.UUID] | None, limit: int) -> list[AuditEntry]:
    query = select(AuditEntry).where(*wanted.conditions()).order_by(AuditEntry.at.desc(), AuditEntry.id.desc())
    if before is not None:
        query = query.where(tuple_(AuditEntry.at, AuditEntry.id) < tuple_(*before))
    return list(db.session().scalars(query.limit(limit)))


def _row(entry: AuditEntry) -> tuple[str, ...]:
    told = "; ".join(f"{name}: {value}" for name, value in words.details(entry.details))
    who = words.actor(entry.actor_kind, entry.actor)
    at = entry.at.isoformat(timespec="milliseconds")
    return at, entry.actor_kind, who, entry.ip, entry.action, entry.subject, told


def _cursor(entry: AuditEntry) -> str:
    return f"{entry.at:%Y%m%dT%H%M%S.%f}_{entry.id.hex}"


def _read_cursor(text: str) -> tuple[dt.datetime, uuid.UUID] | None:
    """A cursor as `_cursor` wrote it; None for none, and for one that somebody made up."""
    try:
        at, _, key = text.partition("_")
        return dt.datetime.strptime(at, "%Y%m%dT%H%M%S.%f").replace(tzinfo=dt.UTC), uuid.UUID(hex=key)
    except ValueError:
        return None


def shown(entry: AuditEntry) -> dict[str, Any]:
    """An entry as the page writes it."""
    return {
        "entry": entry,
        "who": words.actor(entry.actor_kind, entry.actor),
        "what": words.action(entry.action),
        "details": words.details(entry.details),
    }
