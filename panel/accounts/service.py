"""Accounts, people, API keys and the audit log."""

from __future__ import annotations

import datetime as dt
import hashlib
import secrets
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from zoneinfo import ZoneInfo

from sqlalchemy import select

from panel import db
from panel.accounts.models import Account, ApiKey, AuditEntry, User
from panel.message.addresses import normalise

__all__ = ["Account", "ApiKey", "AuditEntry", "User"]

_KEY_BYTES = 32
_KEY_SIGN = "op_"

SCOPES: Final = ("events:write", "deliveries:read")
"""What an API key may be for."""


class AlreadyThere(ValueError):
    """The name or address is taken."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Whose API key it was."""

    account_id: uuid.UUID
    key_id: uuid.UUID
    scopes: frozenset[str]


def current() -> Account:
    """The account of the current scope."""
    account = db.session().get(Account, db.account_id())
    if account is None:
        raise db.NotFound("no such Account")
    return account


def find_by_name(name: str) -> Account | None:
    """The account with that name, over all accounts: for operators, in a system scope."""
    return db.session().scalar(select(Account).where(Account.name == name))


def ensure(name: str) -> Account:
    """The account with that name, made if need be. In a system scope."""
    with db.transaction() as session:
        account = find_by_name(name)
        if account is None:
            account = Account(name=name)
            session.add(account)
    return account


def add_user(*, account_id: uuid.UUID, email: str, password_hash: str, role: str = "owner", name: str = "") -> User:
    """Adds a person whose address counts as confirmed. In a system scope, or in that of the account; then an address
    that has a login elsewhere is the database's to refuse.

    Raises AlreadyThere when somebody has that address, InvalidAddress when it is none.
    """
    address = normalise(email)
    with db.transaction() as session:
        if session.scalar(select(User.id).where(User.email == address)) is not None:
            raise AlreadyThere(f"{address} has a login already")
        user = User(
            account_id=account_id,
            email=address,
            name=name,
            password=password_hash,
            role=role,
            fs_uniquifier=secrets.token_hex(32),
            confirmed_at=db.now(),
        )
        session.add(user)
    return user


def has_user(email: str) -> bool:
    """Whether anybody has that login. In a system scope."""
    return db.session().scalar(select(User.id).where(User.email == normalise(email))) is not None


def find_user(email: str) -> User | None:
    """Who signs in with that address. In a system scope."""
    return db.session().scalar(select(User).where(User.email == normalise(email)))


def describe(*, postal_address: str) -> None:
    """Sets what letters say of the account."""
    with db.transaction():
        current().postal_address = postal_address


def users() -> list[User]:
    """The people of this account, by address."""
    return list(db.session().scalars(select(User).order_by(User.email)))


def owners() -> list[User]:
    """The people who are told when something needs an owner."""
    wanted = select(User).where(User.role == "owner", User.active, User.confirmed_at.is_not(None))
    return list(db.session().scalars(wanted.order_by(User.create_datetime)))


def confirmed_addresses() -> list[str]:
    """Addresses that are known to be read by people of this account."""
    found = select(User.email).where(User.confirmed_at.is_not(None), User.active).order_by(User.email)
    return list(db.session().scalars(found))


def add_api_key(label: str, *, scopes: Sequence[str] = SCOPES, user_id: uuid.UUID | None = None, ip: str = "") -> str:
    """Makes an API key for this account and returns it; only its hash is kept, so it is never shown again."""
    key = _KEY_SIGN + secrets.token_urlsafe(_KEY_BYTES)
    granted = [scope for scope in SCOPES if scope in scopes]
    with db.transaction() as session:
        row = ApiKey(account_id=db.account_id(), label=label, scopes=granted)
        row.prefix, row.hash = key[: len(_KEY_SIGN) + 6], _key_hash(key)
        session.add(row)
        audit("api_key.added", subject=label or row.prefix, user_id=user_id, ip=ip, prefix=row.prefix, scopes=granted)
    return key


def find_api_key(key: str) -> Caller | None:
    """Whose key this is; None for an unknown or revoked one. In a system scope."""
    found = db.session().scalar(select(ApiKey).where(ApiKey.hash == _key_hash(key), ApiKey.revoked_at.is_(None)))
    if found is None:
        return None
    if found.last_used_at is None or db.now() - found.last_used_at > dt.timedelta(minutes=1):
        # Once a minute at most: an API call must not cost a write more than it needs.
        with db.transaction():
            found.last_used_at = db.now()
    return Caller(account_id=found.account_id, key_id=found.id, scopes=frozenset(found.scopes))


def _key_hash(key: str) -> str:
    # A key is 256 bits of chance: a fast hash is enough, and its equality search leaks nothing of use.
    return hashlib.sha256(key.encode()).hexdigest()


def audit(action: str, *, subject: str = "", user_id: uuid.UUID | None = None, ip: str = "", **details: Any) -> None:
    """Adds a line to the account's audit log, in the current transaction. Never give it a secret."""
    entry = AuditEntry(action=action, subject=subject[:200], user_id=user_id, ip=ip, details=details)
    entry.account_id = db.account_id()
    db.session().add(entry)


def noted(action: str, *, subject: str, since: dt.datetime) -> bool:
    """Whether the account's audit log has such a line since then."""
    wanted = select(AuditEntry.id).where(
        AuditEntry.action == action, AuditEntry.subject == subject, AuditEntry.at >= since
    )
    return db.session().scalar(wanted.limit(1)) is not None


def lock() -> None:
    """Lets nobody else who asks for it go on until the current transaction has ended."""
    db.session().scalar(select(Account.id).where(Account.id == db.account_id()).with_for_update())


def suspend(account: Account, *, suspended: bool) -> None:
    """Stops or frees an account's sending. In a system scope."""
    with db.transaction() as session:
        session.get_one(Account, account.id).suspended_at = db.now() if suspended else None


def is_suspended() -> bool:
    """Whether an operator has stopped this account's sending."""
    return current().suspended_at is not None


def limit_platform(account: Account, per_day: int) -> None:
    """Says how many letters a day an account may send by the platform server. In a system scope."""
    with db.transaction() as session:
        session.get_one(Account, account.id).platform_daily_limit = per_day


def zone() -> ZoneInfo:
    """The account's time zone."""
    return ZoneInfo(current().time_zone)
