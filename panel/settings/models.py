"""People who were asked to come."""

from __future__ import annotations

import datetime as dt
import uuid

from sqlalchemy import CheckConstraint, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from panel.db import AccountOwned, Base, now


class Invitation(AccountOwned, Base):
    """An address that may become a login of the account, by the link that was mailed there. Only its hash is kept.

    `opens_account`: it was asked for by signing up, and the account has nobody yet. `invited_by`: who sent the last
    letter, as long as they are there; None: the operator, or whoever signs up.
    """

    __tablename__ = "invitations"
    __table_args__ = (
        UniqueConstraint("account_id", "email"),
        CheckConstraint("role IN ('owner', 'member')", name="role"),
        Index("ix_invitations_sent_at", "sent_at"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    email: Mapped[str] = mapped_column(String(320))
    role: Mapped[str] = mapped_column(String(10))
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    opens_account: Mapped[bool] = mapped_column(default=False)
    sent_at: Mapped[dt.datetime] = mapped_column(default=now)
    invited_by: Mapped[uuid.UUID | None]
