"""An outbound address's own mail server."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Any

from sqlalchemy import CheckConstraint, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from panel.db import AccountOwned, Base, now, owned_key


class MailServer(AccountOwned, Base):
    """SMTP settings. *Verified* (a test of exactly these passed) and *enabled* are two facts."""

    __tablename__ = "mail_servers"
    __table_args__ = (
        UniqueConstraint("account_id", "id"),
        UniqueConstraint("address_id"),
        owned_key("address_id", "outbound_addresses"),
        CheckConstraint("security IN ('tls', 'starttls', 'none')", name="security"),
        CheckConstraint("auth IN ('auto', 'plain', 'login', 'cram-md5', 'none')", name="auth"),
        CheckConstraint("state IN ('ready', 'paused')", name="state"),
        CheckConstraint("NOT enabled OR fingerprint_verified IS NOT NULL", name="enabled_is_verified"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    address_id: Mapped[uuid.UUID]
    version: Mapped[int] = mapped_column(default=1)
    preset: Mapped[str] = mapped_column(String(40), default="other")
    host: Mapped[str] = mapped_column(String(255))
    port: Mapped[int]
    security: Mapped[str] = mapped_column(String(10))
    auth: Mapped[str] = mapped_column(String(10), default="auto")
    username: Mapped[str] = mapped_column(String(320), default="")
    password_sealed: Mapped[str | None] = mapped_column(Text)
    ca_certificate: Mapped[str | None] = mapped_column(Text)  # PEM of whom alone to trust; none: whom the system trusts
    fingerprint_verified: Mapped[str | None] = mapped_column(String(200))
    verified_at: Mapped[dt.datetime | None]
    enabled: Mapped[bool] = mapped_column(default=False)
    fallback_to_platform: Mapped[bool] = mapped_column(default=False)
    limits: Mapped[dict[str, Any]] = mapped_column(default=dict)
    state: Mapped[str] = mapped_column(String(10), default="ready")
    paused_reason: Mapped[str | None] = mapped_column(String(40))
    paused_until: Mapped[dt.datetime | None]
    failures_in_a_row: Mapped[int] = mapped_column(default=0)
    last_error: Mapped[str | None] = mapped_column(String(1000))
    rests_until: Mapped[dt.datetime | None]  # by our counts its limits are used up till then
    told_to_wait_until: Mapped[dt.datetime | None]  # it said “too fast” itself: nothing of its lanes begins till then
    auth_tries: Mapped[int] = mapped_column(default=0)  # AUTHs under way or refused; see signin.py
    auth_tried_at: Mapped[dt.datetime | None]
    proven_version: Mapped[int | None]  # the version of the settings that last opened a connection well
    owner_told_at: Mapped[dt.datetime | None]  # last of trouble that may pass by itself
    owner_told_reason: Mapped[str | None] = mapped_column(String(40))  # what its owner knows of, while it is so
    made_at: Mapped[dt.datetime] = mapped_column(default=now)
    changed_at: Mapped[dt.datetime] = mapped_column(default=now, onupdate=now)
