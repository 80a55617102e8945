"""What the link of an invitation is worth: a login for who has read the letter, once, within a week."""

from __future__ import annotations

import datetime as dt
import hashlib
import secrets
import uuid
from dataclasses import dataclass
from typing import Final

from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError

from panel import db
from panel.accounts import service as accounts
from panel.accounts.service import Account
from panel.settings.models import Invitation

DAYS: Final = 7
"""How long a link works."""


class BadLink(ValueError):
    """The link is of no use (any more); the text says why, and the way out."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Who was asked to come, and whither."""

    invitation_id: uuid.UUID
    account_id: uuid.UUID
    account_name: str
    email: str
    role: str
    opens_account: bool


def new_token() -> tuple[str, str]:
    """A token of 256 bits of chance, and its hash."""
    token = secrets.token_urlsafe(32)
    return token, _hash(token)


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def read(token: str) -> Asked:
    """What a link is about. Raises BadLink. In no scope."""
    with db.system_scope("the link in a letter says whose invitation it is") as session:
        row = session.scalar(select(Invitation).where(Invitation.token_hash == _hash(token)))
        if row is None:
            raise BadLink("This link has been used or taken back, or there is a newer one, or it is not complete.")
        if row.sent_at < db.now() - dt.timedelta(days=DAYS):
            raise BadLink(f"This link is older than {DAYS} days. Ask for a new one.")
        if accounts.has_user(row.email):
            raise BadLink(
                f"{row.email} has a login already, and an address belongs to one account only. Sign in with it, or ask "
                "to be invited by another address of yours."
            )
        name = session.get_one(Account, row.account_id).name
        with db.account_scope(row.account_id):
            _check_stays(name)
        return Asked(row.id, row.account_id, name, row.email, row.role, row.opens_account)


def _check_stays(account_name: str) -> None:
    if accounts.is_being_deleted():
        raise BadLink(f"{account_name} is being deleted, so nobody can join it any more.")


def accept(token: str, *, name: str, password_hash: str, ip: str = "") -> Asked:
    """Makes the login that a link is about; the address is confirmed by that. Raises BadLink. In no scope."""
    asked = read(token)
    try:
        with db.account_scope(asked.account_id), db.transaction() as session:
            accounts.lock()  # whoever shuts the account either sees the login, and ends it, or is seen here
            _check_stays(asked.account_name)
            mine = delete(Invitation).where(Invitation.id == asked.invitation_id, Invitation.token_hash == _hash(token))
            if session.scalar(mine.returning(Invitation.id)) is None:
                raise BadLink("This link has been used just now.")
            user = accounts.add_user(
                account_id=asked.account_id, email=asked.email, password_hash=password_hash, role=asked.role, name=name
            )
            session.flush()
            accounts.audit("user.joined", subject=asked.email, user_id=user.id, ip=ip, role=asked.role)
    except IntegrityError:
        raise BadLink(f"{asked.email} has got a login just now. Sign in with it.") from None
    return asked
