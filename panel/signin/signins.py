"""Where people are signed in. A sign-in is a row: its cookie is of use for as long as that is there, also as a copy."""

from __future__ import annotations

import datetime as dt
import uuid

from sqlalchemy import delete, select

from panel import db
from panel.accounts import service as accounts
from panel.accounts.service import User
from panel.signin.models import SignIn


def begin(
    sign_in_id: str, *, account_id: uuid.UUID, user_id: uuid.UUID, until: dt.datetime, ip: str, agent: str
) -> None:
    """Notes that somebody has signed in, and forgets those whose time is up."""
    with db.account_scope(account_id), db.transaction() as session:
        session.execute(delete(SignIn).where(SignIn.until < db.now()))
        session.add(
            SignIn(id=sign_in_id, account_id=account_id, user_id=user_id, until=until, ip=ip, browser=browser(agent))
        )


def goes_on(sign_in_id: str) -> bool:
    """Whether nobody has ended it. Asked before anybody is known to be signed in."""
    with db.system_scope("whether a sign-in goes on, before its account is known") as session:
        return session.scalar(select(SignIn.id).where(SignIn.id == sign_in_id)) is not None


def end(sign_in_id: str, *, account_id: uuid.UUID) -> None:
    """Puts its cookie out of use."""
    with db.account_scope(account_id), db.transaction() as session:
        session.execute(delete(SignIn).where(SignIn.id == sign_in_id))


def end_others(sign_in_id: str, *, account_id: uuid.UUID, user_id: uuid.UUID) -> None:
    """Puts the cookies of all of the person's sign-ins out of use but one."""
    with db.account_scope(account_id), db.transaction() as session:
        others = list(session.scalars(select(SignIn).where(SignIn.user_id == user_id, SignIn.id != sign_in_id)))
        for other in others:
            session.delete(other)
        if others:
            accounts.audit("sign_in.others_ended", user_id=user_id, count=len(others))


def end_all(user: User) -> None:
    """Puts the cookies of all of somebody's sign-ins out of use. In their account's scope."""
    with db.transaction() as session:
        session.execute(delete(SignIn).where(SignIn.user_id == user.id))
        accounts.audit("sign_in.all_ended", subject=user.email)


def of(user_id: uuid.UUID) -> list[SignIn]:
    """The person's sign-ins, the newest first. In their account's scope."""
    wanted = select(SignIn).where(SignIn.user_id == user_id, SignIn.until > db.now())
    return list(db.session().scalars(wanted.order_by(SignIn.began_at.desc())))


def end_own(user_id: uuid.UUID, sign_in_id: str) -> None:
    """Ends one of the person's own. Raises NotFound for somebody else's. In their account's scope."""
    if not sign_in_id.isalnum():
        raise db.NotFound("no such sign-in")
    with db.transaction() as session:
        ended = session.scalar(select(SignIn).where(SignIn.id == sign_in_id, SignIn.user_id == user_id))
        if ended is None:
            raise db.NotFound("no such sign-in")
        session.delete(ended)
        accounts.audit("sign_in.ended", subject=ended.browser, user_id=user_id)


_BROWSERS = {"Edg": "Edge", "OPR": "Opera", "Firefox": "Firefox", "Chrome": "Chrome", "Safari": "Safari"}
_SYSTEMS = {
    "iPhone": "iPhone", "iPad": "iPad", "Android": "Android", "Windows": "Windows", "Mac OS X": "a Mac",
    "CrOS": "ChromeOS", "Linux": "Linux",
}  # fmt: skip


def browser(agent: str) -> str:
    """What a User-Agent header stands for. Browsers pretend to be one another, hence the order."""
    name = next((name for mark, name in _BROWSERS.items() if f"{mark}/" in agent), "A browser")
    system = next((system for mark, system in _SYSTEMS.items() if mark in agent), None)
    return f"{name} on {system}" if system else name
