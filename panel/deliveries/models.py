"""What a person does to many deliveries at once."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Any

from sqlalchemy import BigInteger, Index, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from panel.db import AccountOwned, Base, now

_OPEN = "ended_at IS NULL"


class BulkAction(AccountOwned, Base):
    """*Resend* or *Mark as sent* for all of a filter: what was wanted, and how far it has got.

    Its id comes with the form, so that a form that is sent twice acts once.
    """

    __tablename__ = "bulk_actions"
    __table_args__ = (
        UniqueConstraint("account_id", "id"),
        Index("ix_bulk_actions_open", "touched_at", sqlite_where=text(_OPEN), postgresql_where=text(_OPEN)),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    what: Mapped[str] = mapped_column(String(16))
    wanted: Mapped[dict[str, Any]]  # the filter
    made_by: Mapped[uuid.UUID | None]
    made_at: Mapped[dt.datetime] = mapped_column(default=now)
    total: Mapped[int]
    done: Mapped[int] = mapped_column(default=0)
    left_out: Mapped[int] = mapped_column(default=0)  # suppressed since, or no longer in a state for it
    last: Mapped[int] = mapped_column(BigInteger)  # deliveries made after this one are not meant
    reached: Mapped[int] = mapped_column(BigInteger, default=0)  # all up to this one are dealt with
    touched_at: Mapped[dt.datetime] = mapped_column(default=now)
    ended_at: Mapped[dt.datetime | None]
