"""The session by which Flask-Security finds people: over all accounts, for this request, for signing in only."""

from __future__ import annotations

from typing import Any

from flask import Flask, g, request
from sqlalchemy.orm import Session

from panel import db

# Flask-Principal, which Flask-Security brings, has taken the name `g.identity`.
_NAME = "identity_session"


def _session() -> Session:
    if _NAME not in g:
        # Signing in and resetting a password read a user and then write them: on SQLite such a transaction must be a
        # writing one from its beginning.
        writing = request.method == "POST" and (request.endpoint or "").startswith(("security.", "signin."))
        setattr(g, _NAME, db.identity_session(writing=writing))
    found = g.get(_NAME)
    assert isinstance(found, Session)
    return found


class IdentitySession:
    """Stands for the session of the request at hand."""

    def __getattr__(self, name: str) -> Any:
        return getattr(_session(), name)


def release() -> None:
    """Ends the reading transaction, so that a long answer holds no connection."""
    if _NAME in g:
        g.get(_NAME).commit()


def install(app: Flask) -> None:
    """Closes the session with the request."""

    def close(_error: BaseException | None = None) -> None:
        session = g.pop(_NAME, None)
        if session is not None:
            session.close()

    app.teardown_appcontext(close)
