"""What the API says about events and deliveries. Ids are strings: a delivery's number may outgrow a JSON number."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from panel.campaigns import service as campaigns
from panel.events.models import Event
from panel.outbox import service as outbox
from panel.outbox.service import Attempt, Delivery


def event(row: Event, queued: Sequence[Delivery], kinds: Mapping[uuid.UUID, str], *, duplicate: bool) -> dict[str, Any]:
    """An event and the deliveries it caused. `kinds` are the campaign's notifications; `duplicate`: of before."""
    return {
        "id": str(row.id),
        "type": row.type,
        "duplicate": duplicate,
        "deliveries": [
            {
                "id": str(each.id),
                "notification": kinds.get(each.notification_id) if each.notification_id else None,
                "to": each.to_address,
                "state": each.state,
                "reason": each.reason,
            }
            for each in queued
        ],
    }


def delivery(delivery_id: int) -> dict[str, Any]:
    """One delivery with its attempts, oldest first. Raises NotFound."""
    row = outbox.get(delivery_id)
    return {
        "id": str(row.id),
        "kind": row.kind,
        "notification": _kind(row),
        "to": row.to_address,
        "state": row.state,
        "reason": row.reason,
        "message_id": row.message_id,
        "created_at": _time(row.made_at),
        "next_attempt_at": _time(row.next_attempt_at) if row.state in ("queued", "deferred") else None,
        "sent_at": _time(row.sent_at),
        "resend_of": str(row.resend_of) if row.resend_of else None,
        "attempts": [_attempt(each) for each in outbox.attempts(row.id)],
    }


def _kind(row: Delivery) -> str | None:
    return campaigns.get_notification(row.notification_id).kind if row.notification_id else None


def _attempt(row: Attempt) -> dict[str, Any]:
    return {
        "started_at": _time(row.started_at),
        "ended_at": _time(row.ended_at),
        "server": row.server,
        "phase": row.phase,
        "outcome": row.outcome,
        "code": row.code,
        "enhanced_code": row.enhanced_code,
        "reply": row.reply,
    }


def _time(value: dt.datetime | None) -> str | None:
    return value.isoformat(timespec="milliseconds").replace("+00:00", "Z") if value else None
