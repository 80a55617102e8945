"""Addresses that an account must not mail."""

from __future__ import annotations

import datetime as dt
import uuid

from sqlalchemy import CheckConstraint, Index, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from panel.db import AccountOwned, Base, now, owned_key


class Suppression(AccountOwned, Base):
    """One address, for one campaign or (`campaign_id` null) for all of the account's."""

    __tablename__ = "suppressions"
    __table_args__ = (
        UniqueConstraint("account_id", "id"),
        UniqueConstraint("account_id", "address", "campaign_id"),
        Index(
            "uq_suppressions_all",
            "account_id",
            "address",
            unique=True,
            sqlite_where=text("campaign_id IS NULL"),
            postgresql_where=text("campaign_id IS NULL"),
        ),
        owned_key("campaign_id", "campaigns"),
        CheckConstraint("reason IN ('unsubscribed', 'bounced', 'complained', 'added_by_hand')", name="reason"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    address: Mapped[str] = mapped_column(String(320))
    campaign_id: Mapped[uuid.UUID | None]
    reason: Mapped[str] = mapped_column(String(20))
    source: Mapped[str] = mapped_column(String(200), default="")
    made_at: Mapped[dt.datetime] = mapped_column(default=now)
