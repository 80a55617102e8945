"""The log: what an account sent, newest first, and everything about one letter."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, select

from panel import db
from panel.campaigns import service as campaigns
from panel.campaigns.kinds import KINDS
from panel.deliveries import letters
from panel.message.letter import Letter
from panel.message.template import Rendered
from panel.outbox import service as outbox
from panel.outbox.service import Attempt, Delivery

PAGE: Final = 50

REASONS: Final = {
    "notification_disabled": "This notification was switched off.",
    "suppressed_unsubscribed": "The recipient has unsubscribed.",
    "suppressed_bounced": "Mail to this address bounced before.",
    "suppressed_complained": "The recipient complained about earlier mail.",
    "suppressed_added_by_hand": "Somebody put this address on the list of suppressed ones.",
    "no_reply": "The connection broke after the letter had left and before the server answered.",
    "worker_lost": "The worker was lost after the letter had begun to leave.",
    "gave_up": "The server said “not now” for three days.",
    "held_too_long": "Its server did not work for too long.",
    "too_late_to_be_of_use": "It would have come too late to be of use.",
    "letter_cannot_be_made": "The letter could not be made from these words and values.",
    "internal_error": "Something went wrong on our side; it is tried again.",
    "interrupted": "The worker was stopped; it is tried again.",
    "account_suspended": "Sending is stopped for this account.",
    "platform_limit": "What this account may send in a day by the platform server is used up.",
    "credentials": "The server refused the user name or password.",
    "sender_refused": "The server does not let this address send.",
    "quota": "The server’s sending limit is used up for now.",
    "server": "The server does not work at the moment.",
    "password_unreadable": "The stored password can no longer be read.",
    "destination_not_allowed": "The server’s name leads to an address that may not be reached.",
    "marked_as_sent": "Somebody marked it as sent.",
    "resent": "Somebody sent it again.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """What to show; everything where nothing is said."""

    state: str = ""
    kind: str = ""
    campaign_id: uuid.UUID | None = None
    to: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """A delivery in the list, with the names that a person knows."""

    delivery: Delivery
    title: str
    campaign: str


@dataclass(frozen=True, slots=True)
class Page:
    """A page of the log; the ids are where the next pages begin, None where there is nothing more."""

    lines: Sequence[Line]
    older: int | None
    newer: int | None


def page(wanted: Filter, *, before: int | None = None, after: int | None = None) -> Page:
    """Up to 50 deliveries, newest first: those before an id, or the ones just after an id."""
    query = select(Delivery).where(*_conditions(wanted))
    if after is not None:
        found = list(db.session().scalars(query.where(Delivery.id > after).order_by(Delivery.id).limit(PAGE + 1)))
        more_newer, more_older = len(found) > PAGE, True
        found = found[:PAGE][::-1]
    else:
        older = query if before is None else query.where(Delivery.id < before)
        found = list(db.session().scalars(older.order_by(Delivery.id.desc()).limit(PAGE + 1)))
        more_newer, more_older = before is not None, len(found) > PAGE
        found = found[:PAGE]
    return Page(
        _lines(found),
        older=found[-1].id if found and more_older else None,
        newer=found[0].id if found and more_newer else None,
    )


def _conditions(wanted: Filter) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if wanted.state:
        conditions.append(Delivery.state == wanted.state)
    if wanted.kind:
        conditions.append(Delivery.kind == wanted.kind)
    if wanted.campaign_id is not None:
        conditions.append(Delivery.campaign_id == wanted.campaign_id)
    if wanted.to:
        conditions.append(Delivery.to_address.contains(wanted.to.strip().lower(), autoescape=True))
    return conditions


def _lines(found: Sequence[Delivery]) -> list[Line]:
    names = {campaign.id: campaign.name for campaign in campaigns.campaigns()}
    kinds = campaigns.kinds_of({one.notification_id for one in found if one.notification_id})
    return [Line(one, _title(one, kinds), names.get(one.campaign_id, "") if one.campaign_id else "") for one in found]


def _title(delivery: Delivery, kinds: dict[uuid.UUID, str]) -> str:
    if delivery.notification_id is None:
        return str(delivery.values.get("subject", "Letter"))
    kind = kinds.get(delivery.notification_id, "")
    title = KINDS[kind].title if kind in KINDS else "Notification"
    return f"Test: {title}" if delivery.kind == "test" else title


@dataclass(frozen=True, slots=True)
class Story:
    """All about one delivery. `letter` is None for system letters, which may hold sign-in links."""

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
        line=_lines([delivery])[0],
        attempts=outbox.attempts(delivery_id),
        reason=REASONS.get(delivery.reason or "", ""),
        letter=None if delivery.kind == "system" else letters.render(delivery),
        sender=delivery.sent_from,
        resent_as=db.session().scalar(select(Delivery.id).where(Delivery.resend_of == delivery_id).limit(1)),
    )


def letter(delivery_id: int) -> Letter:
    """The letter as it was sent, to the byte. Raises NotFound for one that was never begun, and for system letters."""
    delivery = outbox.get(delivery_id)
    if delivery.kind == "system" or not delivery.sent_from:
        raise db.NotFound("no such letter")
    return letters.letter_of(delivery)


def html(delivery_id: int) -> str:
    """Its HTML part. Raises NotFound for system letters."""
    delivery = outbox.get(delivery_id)
    if delivery.kind == "system":
        raise db.NotFound("no such letter")
    return letters.render(delivery).html
