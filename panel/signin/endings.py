"""Sign-ins that were ended. The cookie of one is of no use any more, also where somebody has copied it."""

from __future__ import annotations

import datetime as dt
import uuid

from sqlalchemy import delete, select

from panel import db
from panel.signin.models import EndedSignIn


def end(account_id: uuid.UUID, sign_in_id: str, *, until: dt.datetime) -> None:
    """Notes that it is over, and forgets those whose time is up."""
    with db.account_scope(account_id), db.transaction() as session:
        session.execute(delete(EndedSignIn).where(EndedSignIn.until < db.now()))
        session.merge(EndedSignIn(id=sign_in_id, account_id=account_id, until=until))


def is_over(sign_in_id: str) -> bool:
    """Whether it was ended. Asked before anybody is known to be signed in."""
    with db.system_scope("whether a sign-in is over, before its account is known") as session:
        return session.scalar(select(EndedSignIn.id).where(EndedSignIn.id == sign_in_id)) is not None
