"""People in a campaign."""

from __future__ import annotations

import datetime as dt
import uuid

from sqlalchemy import CheckConstraint, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from panel.db import AccountOwned, Base, now, owned_key


class Participant(AccountOwned, Base):
    """A referrer (`joined_at` is set: they have a link), a friend (`referred_by` is set), or both."""

    __tablename__ = "participants"
    __table_args__ = (
        UniqueConstraint("account_id", "id"),
        UniqueConstraint("campaign_id", "email"),
        UniqueConstraint("campaign_id", "referral_code"),
        Index("ix_participants_referred_by", "referred_by"),
        Index("ix_participants_list", "campaign_id", "made_at", "id"),
        owned_key("campaign_id", "campaigns"),
        owned_key("referred_by", "participants", ondelete="NO ACTION"),
        CheckConstraint("referral_state IN ('created', 'qualified', 'denied')", name="referral_state"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    campaign_id: Mapped[uuid.UUID]
    email: Mapped[str] = mapped_column(String(320))
    first_name: Mapped[str] = mapped_column(String(100), default="")
    last_name: Mapped[str] = mapped_column(String(100), default="")
    referral_code: Mapped[str] = mapped_column(String(32))
    joined_at: Mapped[dt.datetime | None]
    referred_by: Mapped[uuid.UUID | None]
    referral_state: Mapped[str | None] = mapped_column(String(10))
    referred_at: Mapped[dt.datetime | None]
    referral_count: Mapped[int] = mapped_column(default=0)
    qualified_count: Mapped[int] = mapped_column(default=0)
    unsubscribed_at: Mapped[dt.datetime | None]
    made_at: Mapped[dt.datetime] = mapped_column(default=now)
