"""Signing up: a new account that nobody can enter before its address is confirmed by a link.

The password is chosen by that link and not before. Else somebody could sign up with the address of another person, who
would confirm it and so open an account to which a stranger has the password.
"""

from __future__ import annotations

import uuid

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from panel import db
from panel.accounts.service import Account, User
from panel.settings import letters
from panel.settings.invitations import DAYS, new_token
from panel.settings.models import Invitation

_TRIES = 5


def ask(email: str, account_name: str) -> None:
    """Mails a link that opens a new account; an address that has a login is told so instead. In no scope."""
    known = _account_of(email)
    if known is not None:
        with db.account_scope(known):
            letters.send("known", to_address=email, subject="You have an Ownpost account already")
        return
    account, token = _open(email, account_name)
    with db.account_scope(account.id):
        words = {"days": DAYS}
        letters.send("sign_up", to_address=email, subject="Confirm your address for Ownpost", token=token, **words)


def _account_of(email: str) -> uuid.UUID | None:
    with db.system_scope("whether an address has a login is asked over all accounts") as session:
        return session.scalar(select(User.account_id).where(User.email == email))


def _open(email: str, name: str) -> tuple[Account, str]:
    """The account, with nobody in it yet, and the token that lets its first owner in."""
    for _ in range(_TRIES - 1):
        try:
            return _try_to_open(email, name)
        except IntegrityError:
            continue  # another account got the name at this moment
    return _try_to_open(email, name)


def _try_to_open(email: str, name: str) -> tuple[Account, str]:
    token, hashed = new_token()
    with db.system_scope("a new account"), db.transaction() as session:
        account = Account(name=_free(name))
        session.add(account)
        session.flush()
        row = Invitation(account_id=account.id, email=email, role="owner", token_hash=hashed, opens_account=True)
        session.add(row)
    return account, token


def _free(name: str) -> str:
    """The name, or the first of `name (2)`, `name (3)`, … that no account has: whoever signs up is not told of them."""
    alike = select(Account.name).where(Account.name.startswith(name, autoescape=True))
    taken = set(db.session().scalars(alike))
    number = 1
    free = name
    while free in taken:
        number += 1
        free = f"{name} ({number})"
    return free
