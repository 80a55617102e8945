"""What happened in a campaign, as reported."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Any

from sqlalchemy import Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from panel.db import AccountOwned, Base, now, owned_key


class Event(AccountOwned, Base):
    """An event, once: `natural_key` says what makes it the same event."""

    __tablename__ = "events"
    __table_args__ = (
        UniqueConstraint("account_id", "id"),
        UniqueConstraint("account_id", "natural_key"),
        owned_key("campaign_id", "campaigns"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    campaign_id: Mapped[uuid.UUID]
    type: Mapped[str] = mapped_column(String(40))
    natural_key: Mapped[str] = mapped_column(String(255))
    payload: Mapped[dict[str, Any]]
    occurred_at: Mapped[dt.datetime]
    received_at: Mapped[dt.datetime] = mapped_column(default=now)


class IdempotentRequest(AccountOwned, Base):
    """The answer to a request that carried an Idempotency-Key; the same key and body get it again."""

    __tablename__ = "idempotent_requests"
    __table_args__ = (
        UniqueConstraint("account_id", "key"),
        Index("ix_idempotent_requests_made_at", "made_at"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    key: Mapped[str] = mapped_column(String(255))
    body_hash: Mapped[str] = mapped_column(String(64))
    answer: Mapped[dict[str, Any]]
    made_at: Mapped[dt.datetime] = mapped_column(default=now)
