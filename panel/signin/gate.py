"""Between the right password and the session: whoever has a second factor is asked for it.

Flask-Security calls this wherever it is about to sign somebody in. What has been done by then waits in the session
cookie, which is signed: whose password it was, until when, and where they wanted to go.
"""

from __future__ import annotations

import time
from typing import Any

from flask import after_this_request, current_app, redirect, session, url_for
from flask_security import login_user
from flask_security.tf_plugin import TfPlugin
from werkzeug.wrappers import Response as BaseResponse

from panel import db
from panel.accounts.service import User
from panel.signin import service, signins
from panel.web import identity, links, sessions

_WAITING = "second_factor"
_PATIENCE = 600  # seconds from the password to the second factor


class Gate(TfPlugin):
    """Stands where Flask-Security has its own second factors."""

    def tf_enter(  # type: ignore[override]  # its users are ours
        self, user: User, remember_me: bool | None, primary_authn_via: str, next_loc: str | None
    ) -> BaseResponse | None:
        """The way to the second factor; None for somebody who has none."""
        with db.account_scope(user.account_id):
            if not service.factors(user.id).on:
                return None
        session[_WAITING] = {
            "user": user.fs_uniquifier,
            "until": time.time() + _PATIENCE,
            "remember": bool(remember_me),
            "next": next_loc if next_loc and links.is_local(next_loc) else "/",
        }
        return redirect(url_for("signin.second"))


def waiting() -> User | None:
    """Who has given the right password and not yet the second factor. A new password ends the wait."""
    found: dict[str, Any] | None = session.get(_WAITING)
    if found is None or time.time() > found["until"]:
        session.pop(_WAITING, None)
        return None
    user: User | None = current_app.extensions["security"].datastore.find_user(fs_uniquifier=found["user"])
    # What follows writes by the account's own session, and on SQLite one writes at a time.
    identity.release()
    return user if user is not None and user.active else None


def enter(user: User, by: str) -> BaseResponse:
    """Signs them in and sends them where they wanted to go."""
    found = session.pop(_WAITING)
    login_user(user, remember=found["remember"], authn_via=["password", by])
    after_this_request(_commit)
    return redirect(found["next"], 303)


def sign_out_elsewhere(user: User) -> None:
    """Ends every session of the person's but this one."""
    datastore = current_app.extensions["security"].datastore
    datastore.set_uniquifier(user)
    datastore.put(user)
    datastore.commit()
    session["_user_id"] = user.fs_uniquifier
    signins.end_others(sessions.sign_in_id(), account_id=user.account_id, user_id=user.id)


def _commit(answer: Any) -> Any:
    current_app.extensions["security"].datastore.commit()
    return answer
