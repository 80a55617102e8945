"""Campaigns, their notifications, and every saved version of a notification."""

from __future__ import annotations

import datetime as dt
import uuid

from sqlalchemy import String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from panel.db import AccountOwned, Base, now, owned_key


class Campaign(AccountOwned, Base):
    """One referral program."""

    __tablename__ = "campaigns"
    __table_args__ = (
        UniqueConstraint("account_id", "id"),
        UniqueConstraint("account_id", "slug"),
        # No cascade: an address that campaigns use cannot be deleted under them.
        owned_key("address_id", "outbound_addresses", ondelete="NO ACTION"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    slug: Mapped[str] = mapped_column(String(63))
    name: Mapped[str] = mapped_column(String(200))
    company_name: Mapped[str] = mapped_column(String(200))
    referral_url: Mapped[str] = mapped_column(String(2000))
    portal_url: Mapped[str] = mapped_column(String(2000), default="")
    address_id: Mapped[uuid.UUID | None]
    made_at: Mapped[dt.datetime] = mapped_column(default=now)


class Notification(AccountOwned, Base):
    """A campaign's email for one trigger and one kind of recipient; `kind` is a key of `campaigns.kinds.KINDS`."""

    __tablename__ = "notifications"
    __table_args__ = (
        UniqueConstraint("account_id", "id"),
        UniqueConstraint("campaign_id", "kind"),
        owned_key("campaign_id", "campaigns"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    campaign_id: Mapped[uuid.UUID]
    kind: Mapped[str] = mapped_column(String(40))
    enabled: Mapped[bool] = mapped_column(default=True)
    current_version_id: Mapped[uuid.UUID | None]  # no foreign key: the two tables would point at each other
    expires_after: Mapped[int | None]  # seconds


class NotificationVersion(AccountOwned, Base):
    """What a notification said from one save to the next. Never changed, so that a sent letter can be made again.

    The words of a blast are one, too; they are of no notification.
    """

    __tablename__ = "notification_versions"
    __table_args__ = (
        UniqueConstraint("account_id", "id"),
        UniqueConstraint("notification_id", "number"),
        owned_key("notification_id", "notifications"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    notification_id: Mapped[uuid.UUID | None]
    number: Mapped[int]
    subject: Mapped[str] = mapped_column(Text)
    preheader: Mapped[str] = mapped_column(Text, default="")
    html_source: Mapped[str] = mapped_column(Text)
    html: Mapped[str] = mapped_column(Text)
    text: Mapped[str] = mapped_column(Text)
    text_is_own: Mapped[bool] = mapped_column(default=False)
    tags_used: Mapped[list[str]] = mapped_column(default=list)
    made_by: Mapped[uuid.UUID | None]
    made_at: Mapped[dt.datetime] = mapped_column(default=now)
