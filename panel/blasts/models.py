"""Blasts: one email to many participants of a campaign."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Any

from sqlalchemy import CheckConstraint, Index, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from panel.db import AccountOwned, Base, now, owned_key

_OPEN = "state <> 'draft' AND finished_at IS NULL"


class Blast(AccountOwned, Base):
    """One email, whom it is for and when it goes. Only a draft may be changed."""

    __tablename__ = "blasts"
    __table_args__ = (
        UniqueConstraint("account_id", "id"),
        Index("ix_blasts_list", "campaign_id", "made_at"),
        Index("ix_blasts_open", "state", "scheduled_at", sqlite_where=text(_OPEN), postgresql_where=text(_OPEN)),
        owned_key("campaign_id", "campaigns"),
        owned_key("version_id", "notification_versions", ondelete="NO ACTION"),
        CheckConstraint(
            "state IN ('draft', 'scheduled', 'asking', 'sending', 'paused', 'canceled', 'done')", name="state"
        ),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    campaign_id: Mapped[uuid.UUID]
    version_id: Mapped[uuid.UUID]  # its words, which nobody else has
    audience: Mapped[dict[str, Any]]
    state: Mapped[str] = mapped_column(String(10), default="draft")
    made_by: Mapped[uuid.UUID | None]
    made_at: Mapped[dt.datetime] = mapped_column(default=now)
    scheduled_at: Mapped[dt.datetime | None]
    started_at: Mapped[dt.datetime | None]  # when its deliveries were queued
    finished_at: Mapped[dt.datetime | None]  # when nothing of it was left to send
    recipients: Mapped[int] = mapped_column(default=0)
    left_out: Mapped[int] = mapped_column(default=0)  # wanted, and not queued: they must not be mailed
