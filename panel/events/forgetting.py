"""What was reported of a person who is deleted: that it happened stays, who it happened to goes."""

from __future__ import annotations

import uuid
from typing import Any, Final

from sqlalchemy import String, cast, or_, select

from panel import db
from panel.events.models import Event, IdempotentRequest
from panel.redact import SOMEBODY, as_kept, without

_PEOPLE: Final = ("referrer", "friend")


def forget(campaign_id: uuid.UUID, email: str) -> None:
    """Takes a person out of what was reported in a campaign, and out of kept answers. In the current transaction.

    An event's natural key, a hash, stays: so that the same report, should it come again, mails nobody twice.
    """
    session = db.session()
    about = or_(*(Event.payload[who]["email"].as_string() == email for who in _PEOPLE))
    for event in session.scalars(select(Event).where(Event.campaign_id == campaign_id, about)):
        event.payload = _without(event.payload, email)
    answered = cast(IdempotentRequest.answer, String).contains(as_kept(email), autoescape=True)
    for request in session.scalars(select(IdempotentRequest).where(answered)):
        request.answer = without(request.answer, email)
    session.flush()


def _without(payload: dict[str, Any], email: str) -> dict[str, Any]:
    gone = {"email": SOMEBODY}
    return {
        name: gone if name in _PEOPLE and isinstance(value, dict) and value.get("email") == email else value
        for name, value in payload.items()
    }
