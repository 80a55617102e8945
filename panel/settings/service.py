"""The account's people: who they are, what they may do, and who was invited.

An address belongs to one account only. Whoever invites one that has a login elsewhere is told what everybody is told:
that a letter is on its way. That letter says it, to the one person whose business it is.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Sequence
from typing import Final

from sqlalchemy import delete, exists, func, select

from panel import db
from panel.accounts import service as accounts
from panel.accounts.service import Account, User
from panel.addresses.service import By
from panel.message.addresses import for_strangers, normalise
from panel.settings import letters
from panel.settings.invitations import DAYS, new_token
from panel.settings.models import Invitation

ROLES: Final = ("owner", "member")
_FORGOTTEN_AFTER: Final = 4 * DAYS


class AlreadyHere(ValueError):
    """The address is one of this account's own people."""


class LastOwner(ValueError):
    """Without this person nobody could change the account any more."""


class NoSuchRole(ValueError):
    """Only owners and members there are."""


def people() -> list[User]:
    """The account's people: owners first."""
    return list(db.session().scalars(select(User).order_by(User.role.desc(), User.email)))


def invitations() -> list[Invitation]:
    """Who was invited and has not come, the newest first."""
    return list(db.session().scalars(select(Invitation).order_by(Invitation.sent_at.desc())))


def invitation(invitation_id: uuid.UUID) -> Invitation:
    """One of them. Raises NotFound."""
    return db.owned(Invitation, invitation_id)


def invite(email: str, role: str, by: By) -> None:
    """Mails somebody a link that makes them one of the account's people; one invited before gets another.

    Raises InvalidAddress and AlreadyHere.
    """
    address = normalise(email)
    with db.transaction() as session:
        accounts.lock()  # two may invite the same address at once
        if session.scalar(select(User.id).where(User.email == address)) is not None:
            raise AlreadyHere(f"{address} is one of your people already.")
        row = session.scalar(select(Invitation).where(Invitation.email == address))
        if row is None:
            row = Invitation(account_id=db.account_id(), email=address)
            session.add(row)
        row.role = role
        _mail(row, by)
        accounts.audit("user.invited", subject=address, user_id=by.user_id, ip=by.ip, role=role)


def invite_again(invitation_id: uuid.UUID, by: By) -> str:
    """Mails another link, with which earlier ones end, and returns the address. Raises NotFound."""
    with db.transaction():
        accounts.lock()  # somebody may be coming, or take it back
        row = db.owned(Invitation, invitation_id)
        _mail(row, by)
        accounts.audit("user.invited", subject=row.email, user_id=by.user_id, ip=by.ip, role=row.role)
    return row.email


def _mail(row: Invitation, by: By) -> None:
    token, row.token_hash = new_token()
    row.sent_at, row.invited_by = db.now(), by.user_id
    # No name stands in it: strangers choose theirs freely, and whoever is invited knows nobody here yet. An address
    # has been confirmed by whoever signs in with it.
    inviter = for_strangers(db.owned(User, by.user_id).email) if by.user_id else None
    letters.send(
        "elsewhere" if _has_login(row.email) else "invitation",
        to_address=row.email,
        subject=f"{inviter} invites you to Ownpost" if inviter else "You are invited to Ownpost",
        token=token,
        inviter=inviter,
        days=DAYS,
    )


def _has_login(address: str) -> bool:
    with db.system_scope("an address belongs to one account only"):
        return accounts.has_user(address)


def withdraw(invitation_id: uuid.UUID, by: By) -> None:
    """Takes an invitation back: its link ends. Raises NotFound."""
    with db.transaction() as session:
        accounts.lock()
        row = db.owned(Invitation, invitation_id)
        session.delete(row)
        accounts.audit("user.invitation_withdrawn", subject=row.email, user_id=by.user_id, ip=by.ip)


def change_role(user_id: uuid.UUID, role: str, by: By) -> User:
    """Gives a person another role, which holds from their next click on. Raises NotFound, NoSuchRole, LastOwner.

    The invitations of whoever is made a member end: by one to another address of theirs they could be an owner again.
    """
    with db.transaction():
        user = _to_change(user_id)
        if role not in ROLES:
            raise NoSuchRole("Choose owner or member.")
        if role != "owner":
            _keep_an_owner(user, "made a member")
            _end_invitations(user, by)
        if user.role != role:
            user.role = role
            accounts.audit("user.role_changed", subject=user.email, user_id=by.user_id, ip=by.ip, role=role)
    return user


def remove(user_id: uuid.UUID, by: By) -> User:
    """Removes a person with their login; whatever they are signed in with ends, and so do the invitations that they
    sent and nobody has taken up: they could come back by one. Raises NotFound and LastOwner.
    """
    with db.transaction() as session:
        user = _to_change(user_id)
        _keep_an_owner(user, "removed")
        _end_invitations(user, by)
        accounts.audit("user.removed", subject=user.email, user_id=by.user_id, ip=by.ip, role=user.role)
        session.flush()
        session.delete(user)
    return user


def _end_invitations(user: User, by: By) -> None:
    for row in db.session().scalars(select(Invitation).where(Invitation.invited_by == user.id)).all():
        db.session().delete(row)
        accounts.audit("user.invitation_withdrawn", subject=row.email, user_id=by.user_id, ip=by.ip)


def _to_change(user_id: uuid.UUID) -> User:
    # Of two owners who remove each other at once, the second must see what the first did.
    accounts.lock()
    return db.owned(User, user_id)


def _keep_an_owner(user: User, what: str) -> None:
    others = select(func.count()).select_from(User)
    others = others.where(User.role == "owner", User.active, User.confirmed_at.is_not(None), User.id != user.id)
    if user.role == "owner" and not db.session().scalar(others):
        raise LastOwner(f"{user.email} is the last owner, so they cannot be {what}. Make somebody else an owner first.")


def tick() -> None:
    """Forgets accounts that nobody confirmed, and invitations long after their time. In no scope."""
    with db.system_scope("the ticker forgets who did not come"):
        if _late(DAYS, opens_account=True) or _late(_FORGOTTEN_AFTER, opens_account=False):
            _forget()


def _late(days: int, *, opens_account: bool) -> Sequence[uuid.UUID]:
    before = db.now() - dt.timedelta(days=days)
    late = select(Invitation.account_id).where(Invitation.sent_at < before, Invitation.opens_account == opens_account)
    return db.session().scalars(late).all()


def _forget() -> None:
    with db.transaction() as session:
        nobody = ~exists().where(User.account_id == Account.id)
        unwanted = delete(Account).where(Account.id.in_(_late(DAYS, opens_account=True)), nobody)
        session.execute(unwanted.execution_options(synchronize_session=False))
        before = db.now() - dt.timedelta(days=_FORGOTTEN_AFTER)
        session.execute(delete(Invitation).where(Invitation.sent_at < before))
