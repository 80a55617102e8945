"""The letter of a delivery, made from its version and values; made again later it is the same to the byte."""

from __future__ import annotations

import re
import uuid
from datetime import datetime
from functools import lru_cache
from html import escape
from typing import Any, Protocol

from panel import db
from panel.campaigns import service as campaigns
from panel.message.letter import Letter, LetterHeaders, build
from panel.message.press import Press
from panel.message.template import Footer, Rendered
from panel.outbox.service import Delivery
from panel.participants import service as participants
from panel.servers.service import Envelope
from panel.smtp.session import MakeLetter

_LINK = re.compile(r"https?://[^\s<>\"']+")
_PLAIN_PAGE = (
    '<!DOCTYPE html>\n<html><head><meta charset="utf-8"></head>\n'
    '<body style="font:16px/1.5 sans-serif"><p>{}</p></body></html>\n'
)


class LetterRow(Protocol):
    """What a letter is made of: a delivery, or a row of its columns."""

    @property
    def account_id(self) -> uuid.UUID: ...
    @property
    def participant_id(self) -> uuid.UUID | None: ...
    @property
    def notification_version_id(self) -> uuid.UUID | None: ...
    @property
    def values(self) -> dict[str, Any]: ...
    @property
    def to_address(self) -> str: ...
    @property
    def message_id(self) -> str: ...
    @property
    def date(self) -> datetime: ...


def letter_values(
    tags: dict[str, str],
    *,
    to_name: str | None = None,
    postal_address: str | None = None,
    company_name: str | None = None,
    unsubscribe_url: str | None = None,
) -> dict[str, Any]:
    """What a delivery's `values` hold for a notification: the merge values, and what its footer needs."""
    footer = None
    if unsubscribe_url is not None:
        footer = {
            "company_name": company_name or "",
            "postal_address": postal_address or "",
            "unsubscribe_url": unsubscribe_url,
        }
    return {"tags": tags, "to_name": to_name, "footer": footer}


def values_of(values: dict[str, Any], *, account_id: uuid.UUID, participant_id: uuid.UUID | None) -> dict[str, Any]:
    """What a letter is made of: a row's `values`, and the links that those of a blast leave out.

    A blast's rows are made in SQL, which cannot sign a link. What they hold under `links` is the address of the panel
    at that time; the rest of a link depends on the participant alone, so it comes out the same every time.
    """
    base = values.get("links")
    if base is None or participant_id is None:
        return values
    token = participants.token_of(account_id, participant_id)
    unsubscribe = f"{base}/u/{token}"
    links = {"unsubscribe_url": unsubscribe, "preferences_url": f"{base}/p/{token}"}
    return {
        "tags": values["tags"] | links,
        "to_name": values["to_name"],
        "footer": values["footer"] | {"unsubscribe_url": unsubscribe},
    }


def maker_of(row: LetterRow, envelope: Envelope) -> MakeLetter:
    """What makes the octets of `letter_of(row, envelope)` once the session knows whether the server takes 8BITMIME.

    The way for many letters: call it for every row of a batch, in the account's scope, before talking to the server. A
    version's first letter reads and parses the version, the others cost some microseconds each; the dots are stuffed
    already. Raises NotFound, TooLarge or ValueError for a letter that cannot be made; what it returns raises nothing
    and touches no database, so it may be handed to a session, which any thread may run.
    """
    values = _values(row)
    headers = _headers(row, values, _envelope_of(envelope))
    if row.notification_version_id is None:
        letter = build(headers=headers, rendered=render(row))
        return lambda eightbit: letter.wire(eightbit=eightbit)
    footer = Footer(**values["footer"]) if values["footer"] else None
    press = _press(db.account_id(), row.notification_version_id)
    return press.letter(headers=headers, values=values["tags"], footer=footer).wire


@lru_cache(maxsize=64)
def _press(_account_id: uuid.UUID, version_id: uuid.UUID) -> Press:
    # The account is part of the key, so that one account's is not handed to another. Not many, as each may hold some
    # hundred kilobytes; it is made anew in the time of a few letters.
    return Press(campaigns.compiled(version_id))


def _values(row: LetterRow) -> dict[str, Any]:
    return values_of(row.values, account_id=row.account_id, participant_id=row.participant_id)


def render(delivery: LetterRow) -> Rendered:
    """Subject and bodies."""
    values = _values(delivery)
    if delivery.notification_version_id is None:
        text = values["text"]
        return Rendered(subject=values["subject"], text=text, html=values["html"] or _page(text))
    footer = Footer(**values["footer"]) if values["footer"] else None
    return campaigns.compiled(delivery.notification_version_id).render(values["tags"], footer=footer)


def _page(text: str) -> str:
    paragraphs = (escape(part.strip()).replace("\n", "<br>\n") for part in text.split("\n\n"))
    return _PLAIN_PAGE.format(_LINK.sub(r'<a href="\g<0>">\g<0></a>', "</p>\n<p>".join(paragraphs)))


def letter_of(delivery: Delivery, envelope: Envelope | None = None) -> Letter:
    """The whole letter. `envelope` says who it comes from; without one it is what the delivery was sent with."""
    sender = _envelope_of(envelope) if envelope else (delivery.sent_from or {})
    return build(headers=_headers(delivery, _values(delivery), sender), rendered=render(delivery))


def _headers(delivery: LetterRow, values: dict[str, Any], sender: dict[str, Any]) -> LetterHeaders:
    footer = values.get("footer")
    return LetterHeaders(
        from_name=sender.get("from_name", ""),
        from_address=sender["from_address"],
        reply_to=sender.get("reply_to"),
        to_name=values.get("to_name"),
        to_address=delivery.to_address,
        message_id=delivery.message_id,
        date=delivery.date,
        unsubscribe_url=footer["unsubscribe_url"] if footer else None,
    )


def _envelope_of(envelope: Envelope) -> dict[str, Any]:
    return {
        "from_name": envelope.from_name,
        "from_address": envelope.from_address,
        "reply_to": envelope.reply_to,
    }


def sent_from(envelope: Envelope) -> dict[str, Any]:
    """What a delivery remembers of its envelope, so that the letter as sent can be made again."""
    return _envelope_of(envelope)
