"""Pages for what went wrong: each says what happened and the way out."""

from __future__ import annotations

from typing import Any, Final

import structlog
from flask import Flask, Response, g, make_response, render_template, request
from flask_login import AnonymousUserMixin, current_user
from flask_wtf.csrf import CSRFError
from werkzeug.exceptions import HTTPException

from panel import db
from panel.web import problems

log = structlog.get_logger(__name__)

_TITLES = {
    400: ("That request could not be understood", "Go back, reload the page and try again."),
    401: ("Please sign in", "Your sign-in has ended. Sign in again to go on."),
    403: ("You may not do this", "Ask an owner of your account to do it or to give you the role."),
    404: ("There is no such page", "It may have been removed, or the address has a slip in it."),
    405: ("That is not how this page is used", "Go back and use the buttons of the page."),
    413: ("That is too large", "Send less at once."),
    415: ("That kind of content is not understood", "Use the forms of the page."),
    422: ("Something in the form needs another look", "Go back and correct it."),
    429: ("That was a little too often", "Wait a moment and try again."),
    500: ("Something went wrong on our side", "Nothing of yours was lost. Try again in a moment."),
    503: ("Not available right now", "Try again in a moment."),
}

_USER: Final = "_login_user"  # Flask-Login's own name for it


def install(app: Flask) -> None:
    """Registers the handlers."""
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(CSRFError, _csrf)
    app.register_error_handler(db.NotFound, lambda _error: page(404))
    app.register_error_handler(Exception, _unexpected)
    app.after_request(_note_refused)


def page(status: int, detail: str | None = None, *, title: str | None = None) -> Response:
    """The error page; for htmx a line of text that the page shows as a message; for the API a problem.

    detail: what happened and the way out, if more is known than the status says. title: the same in a few words.
    """
    standard, way_out = _TITLES.get(status, _TITLES[500 if status >= 500 else 400])
    title = title or standard
    if problems.wanted():
        return problems.answer(problems.body(status, detail))
    if request.headers.get("HX-Request"):
        answer = make_response(detail or f"{title}. {way_out}", status)
        answer.mimetype = "text/plain"
        return answer
    return make_response(_rendered(status=status, title=title, detail=detail, way_out=way_out), status)


def _rendered(**words: Any) -> str:
    # Flask-Login asks the database for every page who is signed in: here nobody is, unless that is known already.
    if _USER in g:
        return render_template("errors/error.html", **words)
    setattr(g, _USER, AnonymousUserMixin())
    try:
        return render_template("errors/error.html", **words)
    finally:
        g.pop(_USER)


def _note_refused(answer: Response) -> Response:
    # Who tries what is not theirs may try more. That a sign-in has ended, which pages answer 401 to, means nothing.
    if answer.status_code == 403 or (answer.status_code == 401 and problems.wanted()):
        user = current_user.id if current_user.is_authenticated else None
        told = {"status": answer.status_code, "method": request.method, "path": request.path}
        log.warning("not allowed", **told, address=request.remote_addr, user=user)
    return answer


def _http(error: HTTPException) -> Response | HTTPException:
    if error.code is None or error.code < 400:
        return error  # a redirect
    standard = type(error).description
    detail = error.description if error.description and error.description != standard else None
    answer = page(error.code, detail)
    for name, value in error.get_headers():
        if name.lower() in ("allow", "retry-after"):
            answer.headers[name] = value
    return answer


def _csrf(_error: CSRFError) -> Response:
    # To reload what this answers would send the same once more, in vain: only a page opened now has a new token.
    words = "Your sign-in has ended or changed since the page was opened, so nothing was changed."
    way_out = "Do it once more." if request.headers.get("HX-Request") else "Open the page again and do it once more."
    return page(400, f"{words} {way_out}", title="This page is out of date")


def _unexpected(error: Exception) -> Response:
    log.error("request failed", path=request.path, method=request.method, exc_info=error)
    return page(500)
