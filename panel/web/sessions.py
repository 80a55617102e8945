"""How long a sign-in lasts, and how long it counts as recent.

The session is a signed cookie of the browser's, so everything that limits it is in it: when the person signed in, when
they were last here, when they last gave their password. Only that it was ended by its owner is kept here: a cookie that
is copied before cannot know. Flask-Security's own stamps are not used: its grace period
extends itself, and its cookie that remembers a sign-in holds no time at all and would do for ever.
"""

from __future__ import annotations

import datetime as dt
import secrets
import time
import uuid
from collections.abc import Callable
from typing import Any, Protocol

from flask import Flask, request, session
from flask_login import logout_user, user_logged_out
from flask_login.config import COOKIE_NAME as REMEMBER_COOKIE
from flask_security import user_authenticated

from panel.web import identity

# Seconds.
LONGEST = 24 * 3600  # a sign-in
IDLE = 8 * 3600  # without a click
KEPT = 14 * 86_400  # a sign-in that is to be kept on this computer, idle or not
RECENT = 15 * 60  # since the password, before it is asked for again
_NOTICE = 60  # being here is noted once in so long: each note sends the cookie again


class Endings(Protocol):
    """Where it is kept which sign-ins are over."""

    def end(self, account_id: uuid.UUID, sign_in_id: str, *, until: dt.datetime) -> None:
        """Notes that it is over."""

    def is_over(self, sign_in_id: str) -> bool:
        """Whether it is."""


def install(app: Flask, endings: Endings) -> None:
    """Ends what has lasted too long, before anything else looks at who is signed in."""
    app.before_request(lambda: _check(endings.is_over))
    user_authenticated.connect(_begin, app)
    user_logged_out.connect(lambda _app, user: _end(endings, user), app, weak=False)


def _begin(_app: Flask, authn_via: list[str] | None = None, **_: Any) -> None:
    # Flask-Login would now set its own cookie: the session itself is kept instead, for as long as it says.
    wanted = session.pop("_remember", None) == "set"
    session.permanent = wanted or (session.permanent and authn_via == ["change"])
    now = time.time()
    session.update(signed_in_at=now, seen_at=now, confirmed_at=now, sign_in_id=secrets.token_hex(16))


def _end(endings: Endings, user: Any) -> None:
    if user is None or not user.is_authenticated or "sign_in_id" not in session:
        return
    until = dt.datetime.fromtimestamp(session["signed_in_at"] + KEPT, dt.UTC)
    identity.release()  # on SQLite one transaction writes at a time
    endings.end(user.account_id, session["sign_in_id"], until=until)


def _check(is_over: Callable[[str], bool]) -> None:
    if request.endpoint == "static" or not ("_user_id" in session or REMEMBER_COOKIE in request.cookies):
        return
    if not _lasts() or is_over(session["sign_in_id"]):
        session.pop("sign_in_id", None)  # there is nothing to note
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


def is_recent() -> bool:
    """Whether the password was given within the last 15 minutes."""
    return bool(0 <= time.time() - session.get("confirmed_at", 0.0) < RECENT)


def confirm() -> None:
    """The person has just given their password again."""
    session["confirmed_at"] = time.time()
