"""Accounts, the people who sign in to them, API keys, and the audit log."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Any

from flask_security import RoleMixin, UserMixin
from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from panel.db import AccountItself, AccountOwned, Base, now


class Account(AccountItself, Base):
    """A customer of the platform; everything else belongs to exactly one."""

    __tablename__ = "accounts"

    name: Mapped[str] = mapped_column(String(200), unique=True)
    time_zone: Mapped[str] = mapped_column(String(64), default="UTC")
    postal_address: Mapped[str] = mapped_column(String(500), default="")
    made_at: Mapped[dt.datetime] = mapped_column(default=now)
    suspended_at: Mapped[dt.datetime | None]
    platform_daily_limit: Mapped[int | None] = mapped_column(default=100)
    deletion_at: Mapped[dt.datetime | None]  # an owner closed it: it sends nothing, and is deleted then
    keep_values_days: Mapped[int | None]  # what letters were made of is removed after that many days
    blanked_through: Mapped[int] = mapped_column(BigInteger, default=0)  # of all deliveries up to this one that is done

    @property
    def sends(self) -> bool:
        """Whether its letters go out: neither the operator nor an owner has stopped that."""
        return self.suspended_at is None and self.deletion_at is None


class Role(RoleMixin):
    """Flask-Security asks for a role model; Ownpost's two roles are the column `User.role`."""


class User(AccountOwned, Base, UserMixin):
    """A person who logs in. Found by address over all accounts at sign-in only."""

    __tablename__ = "users"
    __table_args__ = (
        CheckConstraint("role IN ('owner', 'member')", name="role"),
        Index("ix_users_account_id_id", "account_id", "id", unique=True),
    )

    # Flask-Security's mixin declares other types for some of these columns; it works with these.
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)  # type: ignore[assignment]
    email: Mapped[str] = mapped_column(String(320), unique=True)
    name: Mapped[str] = mapped_column(String(200), default="")
    role: Mapped[str] = mapped_column(String(10), default="owner")
    password: Mapped[str | None] = mapped_column(String(255))
    active: Mapped[bool] = mapped_column(default=True)
    fs_uniquifier: Mapped[str] = mapped_column(String(64), unique=True)
    confirmed_at: Mapped[dt.datetime | None]
    last_login_at: Mapped[dt.datetime | None]  # type: ignore[assignment]
    current_login_at: Mapped[dt.datetime | None]  # type: ignore[assignment]
    last_login_ip: Mapped[str | None] = mapped_column(String(64))
    current_login_ip: Mapped[str | None] = mapped_column(String(64))
    login_count: Mapped[int | None]  # type: ignore[assignment]
    create_datetime: Mapped[dt.datetime] = mapped_column(default=now)
    update_datetime: Mapped[dt.datetime] = mapped_column(default=now, onupdate=now)

    account: Mapped[Account] = relationship(lazy="joined")

    @property
    def roles(self) -> list[Role]:  # type: ignore[override]
        """None of Flask-Security's roles are used."""
        return []

    @property
    def is_active(self) -> bool:
        """Whether the person may sign in: nobody does whose address is not known to be theirs."""
        return self.active and self.confirmed_at is not None

    @property
    def is_owner(self) -> bool:
        """Owners may change servers, addresses and people; members see all."""
        return self.role == "owner"


class ApiKey(AccountOwned, Base):
    """A key of the account's API. Only its hash is kept."""

    __tablename__ = "api_keys"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    label: Mapped[str] = mapped_column(String(100), default="")
    prefix: Mapped[str] = mapped_column(String(16))
    hash: Mapped[str] = mapped_column(String(64), unique=True)
    scopes: Mapped[list[str]] = mapped_column(default=list)
    made_at: Mapped[dt.datetime] = mapped_column(default=now)
    last_used_at: Mapped[dt.datetime | None]
    revoked_at: Mapped[dt.datetime | None]


class AuditEntry(AccountOwned, Base):
    """Who changed what, when and from where. Never a secret.

    `actor` says it in words, as the user may be gone by the time somebody reads it.
    """

    __tablename__ = "audit_log"
    __table_args__ = (Index("ix_audit_log_account_at", "account_id", "at"), UniqueConstraint("account_id", "id"))

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    at: Mapped[dt.datetime] = mapped_column(default=now)
    user_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"))
    actor_kind: Mapped[str] = mapped_column(String(10), default="")  # as in panel.actor
    actor: Mapped[str] = mapped_column(String(320), default="")
    ip: Mapped[str] = mapped_column(String(64), default="")
    action: Mapped[str] = mapped_column(String(64))
    subject: Mapped[str] = mapped_column(String(200), default="")
    details: Mapped[dict[str, Any]] = mapped_column(default=dict)
