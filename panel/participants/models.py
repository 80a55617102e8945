"""People in a campaign."""

from __future__ import annotations

import datetime as dt
import uuid

from sqlalchemy import CheckConstraint, Index, LargeBinary, String, UniqueConstraint
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


class Import(AccountOwned, Base):
    """A file of people between its choosing and its import; then what came of it. Gone within the hour.

    The numbers are the file's own: `found` people of whom each counts once, `repeated` lines with an address that an
    earlier one had, `bad` lines that cannot be used.
    """

    __tablename__ = "participant_imports"
    __table_args__ = (
        UniqueConstraint("account_id", "id"),
        Index("ix_participant_imports_made_at", "made_at"),
        Index("ix_participant_imports_campaign_id", "campaign_id"),
        owned_key("campaign_id", "campaigns"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    campaign_id: Mapped[uuid.UUID]
    file_name: Mapped[str] = mapped_column(String(200))
    upload: Mapped[bytes] = mapped_column(LargeBinary, deferred=True)  # what was read of the file, packed
    found: Mapped[int]
    repeated: Mapped[int]
    bad: Mapped[int]
    made_at: Mapped[dt.datetime] = mapped_column(default=now)
    ended_at: Mapped[dt.datetime | None]
    added: Mapped[int] = mapped_column(default=0)
    changed: Mapped[int] = mapped_column(default=0)
    kept: Mapped[int] = mapped_column(default=0)  # who was there already and stays as they are
    overwrite: Mapped[bool | None]  # what becomes of who is there already; None until the import begins

    @property
    def left(self) -> int:
        """How many people an import has not dealt with yet: the first ones of the file."""
        return self.found - self.added - self.changed - self.kept
