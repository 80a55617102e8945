"""Forms that take a file: each says how much it takes. All others stay with the small limit that holds for all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from flask import Flask, abort, current_app, request, session
from flask_wtf.csrf import CSRFError

F = TypeVar("F", bound=Callable[..., Any])

_ROOM = 64 * 1024  # octets of a form around its file


def takes(most: int, words: str) -> Callable[[F], F]:
    """A POST with a file of at most so many octets; `words` say what to do with a larger one."""

    def mark(view: F) -> F:
        view.__dict__["upload"] = (most, words)
        return view

    return mark


def install(app: Flask) -> None:
    """Must come before whatever reads forms, as looking for the CSRF token does."""
    app.before_request(_widen)


def _widen() -> None:
    view = current_app.view_functions.get(request.endpoint or "")
    most, words = getattr(view, "__dict__", {}).get("upload", (0, ""))
    if not most or request.method != "POST":
        return
    octets = request.content_length or 0
    # Nobody who is not signed in has to be listened to for so long. Whether the sign-in still holds is asked later.
    if "_user_id" not in session:
        if octets > current_app.config["MAX_CONTENT_LENGTH"]:
            # What a smaller form is answered, of which the token is read: that it is too large would be no help.
            raise CSRFError("nobody is signed in")
        return
    if octets > most + _ROOM:
        abort(413, words)
    request.max_content_length = most + _ROOM
