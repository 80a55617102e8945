"""What people have besides the password: authenticator apps, passkeys, recovery codes. And where they are signed in."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Final

from sqlalchemy import BigInteger, Index, LargeBinary, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from panel import sealed
from panel.db import AccountOwned, Base, now, owned_key

SEALED_COLUMN: Final = "totp_keys.secret_sealed"


class TotpKey(AccountOwned, Base):
    """The key that a person shares with their authenticator app (RFC 6238). It counts once a code has proved it."""

    __tablename__ = "totp_keys"
    __table_args__ = (UniqueConstraint("user_id"), owned_key("user_id", "users"))

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    user_id: Mapped[uuid.UUID]
    secret_sealed: Mapped[str] = mapped_column(String(400))
    made_at: Mapped[dt.datetime] = mapped_column(default=now)
    confirmed_at: Mapped[dt.datetime | None]
    # The time step of the last code that was taken: no code is taken twice, and none from before it.
    last_counter: Mapped[int | None] = mapped_column(BigInteger)


class Passkey(AccountOwned, Base):
    """A WebAuthn credential. Its private half never leaves the person's device."""

    __tablename__ = "passkeys"
    __table_args__ = (Index("ix_passkeys_user", "account_id", "user_id"), owned_key("user_id", "users"))

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    user_id: Mapped[uuid.UUID]
    name: Mapped[str] = mapped_column(String(100))
    credential_id: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    public_key: Mapped[bytes] = mapped_column(LargeBinary)
    sign_count: Mapped[int] = mapped_column(BigInteger, default=0)
    made_at: Mapped[dt.datetime] = mapped_column(default=now)
    last_used_at: Mapped[dt.datetime | None]


class RecoveryCode(AccountOwned, Base):
    """Lets its owner in once in place of an app or a passkey that is lost. Only its hash is kept."""

    __tablename__ = "recovery_codes"
    __table_args__ = (Index("ix_recovery_codes_user", "account_id", "user_id"), owned_key("user_id", "users"))

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    user_id: Mapped[uuid.UUID]
    hash: Mapped[str] = mapped_column(String(64))
    made_at: Mapped[dt.datetime] = mapped_column(default=now)
    used_at: Mapped[dt.datetime | None]


class SignIn(AccountOwned, Base):
    """Somebody is signed in, in one browser, until then at the latest."""

    __tablename__ = "sign_ins"
    __table_args__ = (Index("ix_sign_ins_user", "account_id", "user_id"), owned_key("user_id", "users"))

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    user_id: Mapped[uuid.UUID]
    began_at: Mapped[dt.datetime] = mapped_column(default=now)
    until: Mapped[dt.datetime] = mapped_column(index=True)
    ip: Mapped[str] = mapped_column(String(64), default="")
    browser: Mapped[str] = mapped_column(String(60), default="")


sealed.register_secret(TotpKey, "secret_sealed", place=SEALED_COLUMN)
