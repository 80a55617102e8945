"""Outbound addresses: the From of an account's mail."""

from __future__ import annotations

import datetime as dt
import uuid

from sqlalchemy import Index, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from panel.db import AccountOwned, Base, now

MAX_NAME = 200


class OutboundAddress(AccountOwned, Base):
    """The From address and display name of an account's mail. At most one is the account's default."""

    __tablename__ = "outbound_addresses"
    __table_args__ = (
        UniqueConstraint("account_id", "id"),
        UniqueConstraint("account_id", "email"),
        Index(
            "uq_outbound_addresses_default",
            "account_id",
            unique=True,
            sqlite_where=text("is_default"),
            postgresql_where=text("is_default"),
        ),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    email: Mapped[str] = mapped_column(String(320))
    display_name: Mapped[str] = mapped_column(String(MAX_NAME), default="")
    confirmed_at: Mapped[dt.datetime | None]
    is_default: Mapped[bool] = mapped_column(default=False)
    made_at: Mapped[dt.datetime] = mapped_column(default=now)

    @property
    def domain(self) -> str:
        """The part after the @, in A-labels."""
        return self.email.rpartition("@")[2]
