"""How often a stored password is tried: few times in all, and by one connection until it has worked once.

The count is in the server's row and changed by conditional UPDATEs, so it holds over all workers and machines. A
worker asks before each new connection and says how it went.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import ColumnElement, and_, case, or_, select, update

from panel import db
from panel.servers import tries
from panel.servers.models import MailServer
from panel.servers.routing import Route
from panel.smtp.outcome import About, FailureCode, Outcome, Phase, Verdict
from panel.smtp.settings import AuthMethod

MOST: Final = 3
"""Sign-ins with one stored password that may be under way or refused at a time."""

HOUR: Final = 3600.0
"""Seconds after which sign-ins that were not answered count no more."""

_FORGOTTEN_AFTER: Final = 120.0  # seconds; by then whoever began a sign-in and said nothing more is gone
_NOT_SAID: Final = (FailureCode.AUTH_NEEDS_TLS, FailureCode.AUTH_UNAVAILABLE, FailureCode.CANCELED)
_IN_TROUBLE: Final = MailServer.failures_in_a_row > 0
_ONE_LESS: Final = case((MailServer.auth_tries > 0, MailServer.auth_tries - 1), else_=0)


def may_sign_in(route: Route) -> bool:
    """Whether a new connection to the route's server may be opened now; if so, it counts as a sign-in under way.

    In the account's scope, in a transaction of its own. False: ask again in a moment; it also means that the server
    rests or has other settings by now.
    """
    if route.server_id is None:
        return True
    with db.transaction() as session:
        counted = session.execute(
            update(MailServer)
            .where(_same(route), MailServer.state == "ready", _signs_in(), _is_free())
            .values(
                auth_tries=case((_forgotten(), 1), else_=MailServer.auth_tries + 1),
                auth_tried_at=db.clock(),
            )
            .returning(MailServer.id)
            .execution_options(synchronize_session=False)
        ).scalar()
    if counted is not None:
        return True
    without = select(MailServer.id).where(_same(route), MailServer.state == "ready", ~_signs_in())
    return db.session().scalar(without) is not None


def signed_in(route: Route) -> None:
    """The connection opened well, and these settings have proved themselves. Others that are under way stay counted:
    the password may have changed since, and then each of them is refused. A server that was in trouble is tried by one
    alone, so what was counted then had no answer, and is of the past."""
    left = case((_IN_TROUBLE, 0), else_=_ONE_LESS)
    _change(route, auth_tries=left, proven_version=route.server_version)


def sign_in_ended(route: Route, outcome: Outcome | None = None) -> None:
    """The connection did not open. A password that was refused stays counted until it is changed or tested, one that
    was not answered for up to an hour."""
    if outcome is not None and refused(outcome):
        tries.note_refused_by(route)
    elif outcome is None or not unanswered(outcome):
        _change(route, auth_tries=_ONE_LESS)


def refused(outcome: Outcome) -> bool:
    """Whether the server has seen the password and said no."""
    said_no = outcome.phase is Phase.AUTH and outcome.code is not None and outcome.verdict is Verdict.PERMANENT
    return said_no and outcome.about is About.CREDENTIALS


def unanswered(outcome: Outcome) -> bool:
    """Whether the server may have seen the password, and said neither yes nor no: it hung up, say, or said “later”."""
    if outcome.phase is not Phase.AUTH or outcome.accepted:
        return False
    if outcome.code is None:
        return outcome.failure not in _NOT_SAID
    return outcome.about is About.CREDENTIALS and outcome.verdict is not Verdict.PERMANENT


def spent() -> ColumnElement[bool]:
    """True of a server whose stored password has been tried as often as it may be in an hour."""
    return and_(MailServer.auth_tries >= MOST, MailServer.auth_tried_at > db.clock(-HOUR))


def _change(route: Route, **row: object) -> None:
    if route.server_id is None:
        return
    with db.transaction() as session:
        session.execute(
            update(MailServer).where(_same(route)).values(**row).execution_options(synchronize_session=False)
        )


def _same(route: Route) -> ColumnElement[bool]:
    return and_(MailServer.id == route.server_id, MailServer.version == route.server_version)


def _signs_in() -> ColumnElement[bool]:
    something = or_(MailServer.username != "", MailServer.password_sealed.is_not(None))
    return and_(MailServer.auth != AuthMethod.NONE.value, something)


def _forgotten() -> ColumnElement[bool]:
    before = case((_IN_TROUBLE, db.clock(-HOUR)), else_=db.clock(-_FORGOTTEN_AFTER))
    return or_(MailServer.auth_tried_at.is_(None), MailServer.auth_tried_at < before)


def _is_free() -> ColumnElement[bool]:
    # Where the server is in trouble one letter alone tries it, whether or not it has worked before.
    several = or_(MailServer.proven_version == MailServer.version, _IN_TROUBLE)
    return or_(MailServer.auth_tries == 0, _forgotten(), and_(several, MailServer.auth_tries < MOST))
