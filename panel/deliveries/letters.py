"""The letter of a delivery, made from its version and values; made again later it is the same to the byte."""

from __future__ import annotations

import re
import uuid
from html import escape
from typing import Any

from panel.campaigns import service as campaigns
from panel.message.letter import Letter, LetterHeaders, build
from panel.message.template import Footer, Rendered
from panel.outbox.service import Delivery
from panel.participants import service as participants
from panel.servers.service import Envelope

_LINK = re.compile(r"https?://[^\s<>\"']+")
_PLAIN_PAGE = (
    '<!DOCTYPE html>\n<html><head><meta charset="utf-8"></head>\n'
    '<body style="font:16px/1.5 sans-serif"><p>{}</p></body></html>\n'
)


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


def _values(delivery: Delivery) -> dict[str, Any]:
    return values_of(delivery.values, account_id=delivery.account_id, participant_id=delivery.participant_id)


def render(delivery: Delivery) -> Rendered:
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
    values = _values(delivery)
    footer = values.get("footer")
    headers = LetterHeaders(
        from_name=sender.get("from_name", ""),
        from_address=sender["from_address"],
        reply_to=sender.get("reply_to"),
        to_name=values.get("to_name"),
        to_address=delivery.to_address,
        message_id=delivery.message_id,
        date=delivery.date,
        unsubscribe_url=footer["unsubscribe_url"] if footer else None,
    )
    return build(headers=headers, rendered=render(delivery))


def _envelope_of(envelope: Envelope) -> dict[str, Any]:
    return {
        "from_name": envelope.from_name,
        "from_address": envelope.from_address,
        "reply_to": envelope.reply_to,
    }


def sent_from(envelope: Envelope) -> dict[str, Any]:
    """What a delivery remembers of its envelope, so that the letter as sent can be made again."""
    return _envelope_of(envelope)
