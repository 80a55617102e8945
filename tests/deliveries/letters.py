"""Letters by the number, straight into the outbox."""

from __future__ import annotations

from typing import Any

from sqlalchemy import insert

from panel import db
from panel.outbox.models import Delivery


def waiting(count: int, **row: Any) -> list[int]:
    """Letters that are due, of no campaign; their ids, oldest first. In an account's scope."""
    now = db.now()
    rows = [
        {
            "account_id": db.account_id(),
            "kind": "blast",
            "to_address": f"p{number}@friends.test",
            "values": {},
            "message_id": f"<{number}@acme.test>",
            "date": now.replace(microsecond=0),
            "made_at": now,
            "next_attempt_at": now,
            "priority": 8,
            **row,
        }
        for number in range(count)
    ]
    with db.transaction() as session:
        return sorted(session.scalars(insert(Delivery).returning(Delivery.id), rows))
