"""How long a sign-in lasts, and how long it counts as recent.

The session is a signed cookie of the browser's, so everything that limits it is in it: when the person signed in, when
they were last here, when they last gave their password. That it was ended by its owner a cookie cannot know, so each
sign-in is a row as well. Flask-Security's own stamps are not used: its grace period extends itself, and its cookie that
remembers a sign-in holds no time at all and would do for ever.
"""

from __future__ import annotations

import datetime as dt
import secrets
import time
import uuid
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from flask import Flask, current_app, g, request, session
from flask_login import logout_user, user_logged_out
from flask_login.config import COOKIE_NAME as REMEMBER_COOKIE
from flask_security import password_changed, password_reset, user_authenticated

from panel.web import identity

# Seconds.
LONGEST = 24 * 3600  # a sign-in
IDLE = 8 * 3600  # without a click
KEPT = 14 * 86_400  # a sign-in that is to be kept on this computer, idle or not
RECENT = 15 * 60  # since the password, before it is asked for again
_NOTICE = 60  # being here is noted once in so long: each note sends the cookie again

_SIGN_INS = "ownpost_sign_ins"


class SignIns(Protocol):
    """Where it is kept who is signed in."""

    def begin(
        self, sign_in_id: str, *, account_id: uuid.UUID, user_id: uuid.UUID, until: dt.datetime, ip: str, agent: str
    ) -> None:
        """Notes that somebody has signed in."""

    def goes_on(self, sign_in_id: str) -> bool:
        """Whether nobody has ended it."""

    def end(self, sign_in_id: str, *, account_id: uuid.UUID) -> None:
        """Puts its cookie out of use."""

    def end_others(self, sign_in_id: str, *, account_id: uuid.UUID, user_id: uuid.UUID) -> None:
        """Puts the cookies of all of the person's sign-ins out of use but one."""


def install(app: Flask, sign_ins: SignIns) -> None:
    """Ends what has lasted too long, before anything else looks at who is signed in."""
    app.extensions[_SIGN_INS] = sign_ins
    app.before_request(lambda: _check(sign_ins))
    user_authenticated.connect(lambda _app, **given: _begin(sign_ins, **given), app, weak=False)
    user_logged_out.connect(lambda _app, user: _end(sign_ins, user), app, weak=False)
    for changed in (password_changed, password_reset):
        changed.connect(lambda _app, user, **_: _end_others(sign_ins, user), app, weak=False)


def _begin(sign_ins: SignIns, *, user: Any, authn_via: list[str] | None = None, **_: Any) -> None:
    # Flask-Login would now set its own cookie: the session itself is kept instead, for as long as it says.
    wanted = session.pop("_remember", None) == "set"
    _new_token()
    session.permanent = wanted or (session.permanent and authn_via == ["change"])
    now = time.time()
    session.update(signed_in_at=now, seen_at=now, confirmed_at=now, sign_in_id=secrets.token_hex(16))
    identity.release()  # on SQLite one transaction writes at a time
    sign_ins.begin(
        session["sign_in_id"],
        account_id=user.account_id,
        user_id=user.id,
        until=dt.datetime.fromtimestamp(now + (KEPT if session.permanent else LONGEST), dt.UTC),
        ip=request.remote_addr or "",
        agent=request.user_agent.string,
    )


def _new_token() -> None:
    # Who put a session of theirs into this browser knows the token of its forms. Flask-WTF keeps it in both places.
    name = current_app.config["WTF_CSRF_FIELD_NAME"]
    session.pop(name, None)
    g.pop(name, None)


def _end(sign_ins: SignIns, user: Any) -> None:
    if user is not None and user.is_authenticated and "sign_in_id" in session:
        identity.release()
        sign_ins.end(session["sign_in_id"], account_id=user.account_id)


def _end_others(sign_ins: SignIns, user: Any) -> None:
    identity.release()
    sign_ins.end_others(session.get("sign_in_id", ""), account_id=user.account_id, user_id=user.id)


def _check(sign_ins: SignIns) -> None:
    if request.endpoint == "static" or not ("_user_id" in session or REMEMBER_COOKIE in request.cookies):
        return
    if not _lasts() or not sign_ins.goes_on(session["sign_in_id"]):
        session.pop("sign_in_id", None)  # there is nothing to end
        logout_user()
        session.clear()
        if REMEMBER_COOKIE in request.cookies:
            session["_remember"] = "clear"  # has Flask-Login delete its cookie, which an earlier version gave
    elif _is_a_click() and time.time() - session["seen_at"] > _NOTICE:
        session["seen_at"] = time.time()


def _lasts() -> bool:
    if "sign_in_id" not in session:
        return False
    now = time.time()
    if session.permanent:
        return bool(now - session["signed_in_at"] < KEPT)
    return bool(now - session["signed_in_at"] < LONGEST and now - session["seen_at"] < IDLE)


def _is_a_click() -> bool:
    # A page that asks again by itself, or a stream that it holds, is no person.
    return request.method != "GET" or "HX-Request" not in request.headers


def sign_in_id() -> str:
    """This sign-in's name: another browser's, or the next, has another."""
    found = session["sign_in_id"]
    assert isinstance(found, str)
    return found


def goes_on() -> Callable[[], bool]:
    """What tells whether nobody has ended this sign-in, by one query: also when the request at hand is over."""
    return partial(current_app.extensions[_SIGN_INS].goes_on, sign_in_id())


def is_recent() -> bool:
    """Whether the password was given within the last 15 minutes."""
    return bool(0 <= time.time() - session.get("confirmed_at", 0.0) < RECENT)


def confirm() -> None:
    """The person has just given their password again."""
    session["confirmed_at"] = time.time()
