"""Deliveries and attempts: the rows that the promise rests on."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKeyConstraint,
    Index,
    Integer,
    String,
    UniqueConstraint,
    bindparam,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from panel.db import AccountOwned, Base, now, owned_key
from panel.outbox.states import KINDS, STATES

# SQLite numbers rows by itself only when the key is declared INTEGER.
_ID = BigInteger().with_variant(Integer, "sqlite")
_DUE = "state IN ('queued', 'deferred')"
_CLAIMED = "lease_until IS NOT NULL"
_HELD = "state = 'held'"
_EXPIRES = "expires_at IS NOT NULL AND state IN ('queued', 'deferred', 'held')"
_SENT = "sent_at IS NOT NULL AND server_id IS NOT NULL"
_SENT_BY_PLATFORM = "sent_at IS NOT NULL AND server_id IS NULL"
_ONCE_OF_EVENT = "event_id IS NOT NULL AND resend_of IS NULL"
_OF_BLAST = "blast_id IS NOT NULL"
_ONCE_OF_BLAST = "blast_id IS NOT NULL AND resend_of IS NULL"
_AGAIN = "resend_of IS NOT NULL"


def _one_of(column: str, values: tuple[str, ...]) -> str:
    return f"{column} IN ({', '.join(repr(value) for value in values)})"


class Delivery(AccountOwned, Base):
    """One email to one recipient: the unit that is queued, sent, retried and reported."""

    __tablename__ = "deliveries"
    __table_args__ = (
        UniqueConstraint("account_id", "id"),  # also the order of the log
        # One event mails one recipient one notification once; a person's *Resend* makes a new row beside it.
        Index(
            "uq_deliveries_event_notification_recipient",
            "event_id",
            "notification_id",
            "to_address",
            unique=True,
            sqlite_where=text(_ONCE_OF_EVENT),
            postgresql_where=text(_ONCE_OF_EVENT),
        ),
        Index(
            "ix_deliveries_due",
            text("coalesce(address_id, account_id)"),  # the lane: see `lane`
            "priority",
            "next_attempt_at",
            "id",
            sqlite_where=text(_DUE),
            postgresql_where=text(_DUE),
        ),
        # A blast mails each participant once; a person's *Resend* makes a new row beside it.
        Index(
            "uq_deliveries_blast_participant",
            "blast_id",
            "participant_id",
            unique=True,
            sqlite_where=text(_ONCE_OF_BLAST),
            postgresql_where=text(_ONCE_OF_BLAST),
        ),
        # With the account, so that a blast's letters are counted without reading one of them.
        Index(
            "ix_deliveries_blast_state",
            "blast_id",
            "state",
            "account_id",
            sqlite_where=text(_OF_BLAST),
            postgresql_where=text(_OF_BLAST),
        ),
        Index("ix_deliveries_claimed", "lease_until", sqlite_where=text(_CLAIMED), postgresql_where=text(_CLAIMED)),
        Index("ix_deliveries_expires", "expires_at", sqlite_where=text(_EXPIRES), postgresql_where=text(_EXPIRES)),
        Index("ix_deliveries_held", "account_id", "held_at", sqlite_where=text(_HELD), postgresql_where=text(_HELD)),
        Index("ix_deliveries_log_state", "account_id", "state", "id"),
        Index("ix_deliveries_made_at", "account_id", "made_at"),
        Index("ix_deliveries_sent", "server_id", "sent_at", sqlite_where=text(_SENT), postgresql_where=text(_SENT)),
        Index(
            "ix_deliveries_sent_by_platform",
            "account_id",
            "sent_at",
            sqlite_where=text(_SENT_BY_PLATFORM),
            postgresql_where=text(_SENT_BY_PLATFORM),
        ),
        Index("ix_deliveries_to_address", "account_id", "to_address"),
        Index(
            "ix_deliveries_resend_of",
            "account_id",
            "resend_of",
            sqlite_where=text(_AGAIN),
            postgresql_where=text(_AGAIN),
        ),
        CheckConstraint(_one_of("state", STATES), name="state"),
        CheckConstraint(_one_of("kind", KINDS), name="kind"),
        owned_key("campaign_id", "campaigns"),
        owned_key("notification_version_id", "notification_versions", ondelete="NO ACTION"),
        owned_key("event_id", "events", ondelete="NO ACTION"),
        owned_key("resend_of", "deliveries", ondelete="NO ACTION"),
    )

    id: Mapped[int] = mapped_column(_ID, primary_key=True)
    kind: Mapped[str] = mapped_column(String(16))
    campaign_id: Mapped[uuid.UUID | None]
    address_id: Mapped[uuid.UUID | None]  # the outbound address whose route it takes; null: the account's default one
    notification_id: Mapped[uuid.UUID | None]
    notification_version_id: Mapped[uuid.UUID | None]
    event_id: Mapped[uuid.UUID | None]
    blast_id: Mapped[uuid.UUID | None]
    participant_id: Mapped[uuid.UUID | None]
    to_address: Mapped[str] = mapped_column(String(320))
    values: Mapped[dict[str, Any]] = mapped_column(default=dict)
    message_id: Mapped[str] = mapped_column(String(255))
    date: Mapped[dt.datetime]
    made_at: Mapped[dt.datetime] = mapped_column(default=now)
    state: Mapped[str] = mapped_column(String(10), default="queued")
    reason: Mapped[str | None] = mapped_column(String(64))
    priority: Mapped[int] = mapped_column(default=5)  # lower goes first
    next_attempt_at: Mapped[dt.datetime] = mapped_column(default=now)
    expires_at: Mapped[dt.datetime | None]
    trying_since: Mapped[dt.datetime | None]  # the first temporary refusal, later by as long as others kept it since
    held_at: Mapped[dt.datetime | None]  # since when it has been `held`; kept while it alone tries a server that rested
    attempts: Mapped[int] = mapped_column(default=0)
    server_id: Mapped[uuid.UUID | None]  # at send; null: the platform server
    server_version: Mapped[int | None]
    sent_from: Mapped[dict[str, Any] | None] = mapped_column(default=None)  # the envelope as sent: From, Reply-To
    lease_owner: Mapped[str | None] = mapped_column(String(64))
    lease_until: Mapped[dt.datetime | None]
    fence: Mapped[int] = mapped_column(default=0)
    resend_of: Mapped[int | None] = mapped_column(_ID)
    sent_at: Mapped[dt.datetime | None]
    reply: Mapped[str | None] = mapped_column(String(1000))
    blanked_at: Mapped[dt.datetime | None]  # when its values and the server's words were removed; then none are left


PLATFORM_LIMIT: Final = "platform_limit"
"""Why a delivery is held that waits for its turn: nothing is wrong, so it neither expires nor is warned of."""

# The words of the partial index have to stand in the statement itself, or no planner uses the index.
IS_HELD: Final = Delivery.state == bindparam("is_held", "held", literal_execute=True)


class Attempt(AccountOwned, Base):
    """One try at a delivery. Its row exists before the attempt; `outcome` is null until it has ended."""

    __tablename__ = "attempts"
    __table_args__ = (
        ForeignKeyConstraint(
            ["account_id", "delivery_id"], ["deliveries.account_id", "deliveries.id"], ondelete="CASCADE"
        ),
        UniqueConstraint("delivery_id", "fence"),
    )

    id: Mapped[int] = mapped_column(_ID, primary_key=True)
    delivery_id: Mapped[int] = mapped_column(_ID)
    fence: Mapped[int]
    server: Mapped[str] = mapped_column(String(300))  # host:port as dialled, or "platform server"
    started_at: Mapped[dt.datetime]
    phase: Mapped[str] = mapped_column(String(16), default="")
    ended_at: Mapped[dt.datetime | None]
    bytes_sent: Mapped[int | None]  # octets of the letter handed to the network
    outcome: Mapped[str | None] = mapped_column(String(16))
    about: Mapped[str | None] = mapped_column(String(16))
    failure: Mapped[str | None] = mapped_column(String(40))
    code: Mapped[int | None]
    enhanced_code: Mapped[str | None] = mapped_column(String(12))
    reply: Mapped[str | None] = mapped_column(String(1000))
    steps: Mapped[dict[str, Any] | None] = mapped_column(default=None)
