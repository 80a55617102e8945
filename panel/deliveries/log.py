"""The log: what an account sent, newest first, and everything about one letter."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import select

from panel import db
from panel.campaigns import service as campaigns
from panel.campaigns.kinds import KINDS
from panel.deliveries import known, letters, reasons, waiting
from panel.deliveries.wanted import Filter
from panel.message import drafting
from panel.message.letter import Letter
from panel.message.template import Rendered, TooLarge
from panel.outbox import service as outbox
from panel.outbox.service import Attempt, Delivery

PAGE: Final = 50

KINDS_IN_WORDS: Final = {
    "notification": "Notifications",
    "blast": "Blasts",
    "test": "Test emails",
    "system": "From Ownpost",
}


@dataclass(frozen=True, slots=True)
class Line:
    """A delivery in the list, with the names that a person knows. `last_words` say why it is not sent, if it is not."""

    delivery: Delivery
    title: str
    campaign: str
    last_words: str


@dataclass(frozen=True, slots=True)
class Page:
    """A page of the log, and the account's campaigns, of which the filter names one; the ids are where the next pages
    begin, None where there is nothing more."""

    lines: Sequence[Line]
    campaigns: Sequence[campaigns.Campaign]
    older: int | None
    newer: int | None


def page(wanted: Filter, *, before: int | None = None, after: int | None = None) -> Page:
    """Up to 50 deliveries, newest first: those before an id, or the ones just after an id."""
    query = select(Delivery).where(*wanted.conditions())
    if after is not None:
        found = list(db.session().scalars(query.where(Delivery.id > after).order_by(Delivery.id).limit(PAGE + 1)))
        more_newer, more_older = len(found) > PAGE, True
        found = found[:PAGE][::-1]
    else:
        older = query if before is None else query.where(Delivery.id < before)
        found = list(db.session().scalars(older.order_by(Delivery.id.desc()).limit(PAGE + 1)))
        more_newer, more_older = before is not None, len(found) > PAGE
        found = found[:PAGE]
    every = campaigns.campaigns()
    return Page(
        _lines(found, every),
        every,
        older=found[-1].id if found and more_older else None,
        newer=found[0].id if found and more_newer else None,
    )


def in_words(wanted: Filter) -> list[tuple[str, str]]:
    """A filter as a person reads it: (what, which). The state's name is the page's to say."""
    names = {campaign.id: campaign.name for campaign in campaigns.campaigns()}
    told = [
        ("Kind", KINDS_IN_WORDS.get(wanted.kind, wanted.kind)),
        ("Campaign", names.get(wanted.campaign_id, "one that is gone") if wanted.campaign_id else ""),
        ("Blast", "one of them" if wanted.blast_id else ""),
        ("Address", f"holds “{wanted.to}”" if wanted.to else ""),
        ("Since", _day(wanted.since)),
        ("Until", _day(wanted.until)),
    ]
    return [(what, which) for what, which in told if which]


def _day(day: dt.date | None) -> str:
    return f"{day.day} {day:%b %Y}" if day else ""


def _lines(found: Sequence[Delivery], every: Sequence[campaigns.Campaign]) -> list[Line]:
    names = {campaign.id: campaign.name for campaign in every}
    kinds = campaigns.kinds_of({one.notification_id for one in found if one.notification_id})
    of_blasts = {one.notification_version_id for one in found if not one.notification_id}
    subjects = campaigns.subjects_of(of_blasts - {None})
    special = known.words_of(found) | waiting.words_of(found)
    return [
        Line(
            one,
            _title(one, kinds, subjects),
            names.get(one.campaign_id, "") if one.campaign_id else "",
            special.get(one.id) or _last_words(one),
        )
        for one in found
    ]


def _last_words(delivery: Delivery) -> str:
    """What the server said last; what we know ourselves where it said nothing."""
    if delivery.state == "sent":
        return ""
    said = delivery.reply if delivery.state not in ("canceled", "expired") else None
    return said or reasons.words(delivery.reason)


def _title(delivery: Delivery, kinds: dict[uuid.UUID, str], subjects: dict[uuid.UUID, str]) -> str:
    if delivery.notification_version_id is None:
        return str(delivery.values.get("subject", "Letter"))
    if delivery.notification_id is None:
        if delivery.blanked_at is not None:
            return "Blast"
        # As its recipient reads it.
        subject = drafting.line(subjects[delivery.notification_version_id], delivery.values["tags"])
        title = f"Blast: {subject}"
    else:
        kind = kinds.get(delivery.notification_id, "")
        title = KINDS[kind].title if kind in KINDS else "Notification"
    return f"Test: {title}" if delivery.kind == "test" else title


@dataclass(frozen=True, slots=True)
class Story:
    """All about one delivery.

    `letter` is None for system letters, which may hold sign-in links, and where no letter can be made (any more).
    """

    line: Line
    attempts: Sequence[Attempt]
    reason: str
    letter: Rendered | None
    sender: dict[str, Any] | None
    resent_as: int | None


def story(delivery_id: int) -> Story:
    """Everything about a delivery. Raises NotFound."""
    delivery = outbox.get(delivery_id)
    return Story(
        line=_lines([delivery], campaigns.campaigns())[0],
        attempts=outbox.attempts(delivery_id),
        reason=waiting.words_of([delivery]).get(delivery_id) or reasons.words(delivery.reason),
        letter=_rendered(delivery),
        sender=delivery.sent_from,
        resent_as=outbox.resent([delivery_id]).get(delivery_id),
    )


def _rendered(delivery: Delivery) -> Rendered | None:
    if delivery.kind == "system" or delivery.blanked_at is not None:
        return None
    try:
        return letters.render(delivery)
    except (TooLarge, ValueError):
        return None  # such a delivery has failed for that reason, and its page says so


def letter(delivery_id: int) -> Letter:
    """The letter as it was sent, to the byte. Raises NotFound for one that was never begun, for system
    letters, and for one of which nothing is left."""
    delivery = outbox.get(delivery_id)
    if delivery.kind == "system" or not delivery.sent_from or delivery.blanked_at is not None:
        raise db.NotFound("no such letter")
    return letters.letter_of(delivery)


def html(delivery_id: int) -> str:
    """Its HTML part. Raises NotFound for system letters, and where no letter can be made."""
    rendered = _rendered(outbox.get(delivery_id))
    if rendered is None:
        raise db.NotFound("no such letter")
    return rendered.html
