"""Pages of the capture mailbox: for this machine only, and there for whoever runs it.

Somebody who has forgotten their password must be able to read the letter about it, so the link that `ownpost up` prints
opens the mailbox without a sign-in. So does being an owner of the first account: who made that runs this machine.
"""

from __future__ import annotations

from pathlib import Path

from flask import Response, abort, current_app, g, redirect, render_template, request, url_for
from flask_login import current_user
from werkzeug.wrappers import Response as BaseResponse

from panel import db
from panel.accounts import service as accounts
from panel.config import Settings
from panel.mailbox import key, service
from panel.web import access, thismachine

blueprint = access.blueprint("mailbox", __name__)

PAGE = 50
# A letter's HTML is somebody else's: no script, no form, nothing fetched, and an origin of its own.
LETTER_CSP = "sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'; frame-ancestors 'self'"


@blueprint.before_request
def _this_machine_only() -> BaseResponse | None:
    # The letters are everybody's, password resets too: whoever reads them could become anyone.
    if not thismachine.is_asking():
        abort(404)
    # A tunnel may bring a stranger here without any word of it: being on this machine is not enough.
    if _has_key():
        answer = redirect(url_for(".index"), 303)
        settings = _settings()
        answer.set_cookie(
            _cookie(),
            key.cookie_value(settings.secret_key),
            httponly=True,
            samesite="Lax",
            secure=settings.secure_cookies,
        )
        return answer
    if not mailbox_is_near():
        abort(
            403, "Open it by the link that “ownpost up” has printed, or sign in as an owner of the first account here."
        )
    return None


@blueprint.app_template_global("mailbox_is_near")
def mailbox_is_near() -> bool:
    """Whether the letters are for whoever asks, so that the navigation leads there."""
    if "mailbox_is_near" not in g:
        g.mailbox_is_near = thismachine.is_asking() and (_has_cookie() or _runs_this_machine())
    return bool(g.mailbox_is_near)


def _has_key() -> bool:
    given = request.args.get("key")
    return given is not None and key.is_right(given, key.link_key(_settings().secret_key))


def _has_cookie() -> bool:
    return key.is_right(request.cookies.get(_cookie(), ""), key.cookie_value(_settings().secret_key))


def _runs_this_machine() -> bool:
    if not (current_user.is_authenticated and current_user.is_owner):
        return False
    with db.system_scope("whoever runs this machine has made the first account"):
        return bool(accounts.first_with_people() == current_user.account_id)


def _cookie() -> str:
    return f"{_settings().cookie_prefix}ownpost-mailbox"


@blueprint.get("/mailbox")
@access.public
def index() -> str:
    """The letters, newest first."""
    page = max(request.args.get("page", 1, type=int), 1)
    letters = service.newest(_directory(), offset=(page - 1) * PAGE, limit=PAGE + 1)
    newer = url_for(".index", page=page - 1) if page > 1 else None
    older = url_for(".index", page=page + 1) if len(letters) > PAGE else None
    return render_template("mailbox/index.html", letters=letters[:PAGE], newer=newer, older=older)


@blueprint.get("/mailbox/<letter_id>")
@access.public
def show(letter_id: str) -> str:
    """One letter."""
    letter = service.read(_directory(), letter_id) or abort(404)
    return render_template("mailbox/letter.html", letter=letter)


@blueprint.get("/mailbox/<letter_id>/html")
@access.public
def html(letter_id: str) -> Response:
    """Its HTML part, for the frame in its page."""
    letter = service.read(_directory(), letter_id) or abort(404)
    answer = Response(letter.html if letter.html is not None else abort(404), mimetype="text/html")
    answer.headers["Content-Security-Policy"] = LETTER_CSP
    answer.headers["X-Frame-Options"] = "SAMEORIGIN"
    return answer


@blueprint.get("/mailbox/<letter_id>/raw")
@access.public
def raw(letter_id: str) -> Response:
    """The letter to the byte."""
    content = service.raw(_directory(), letter_id)
    return Response(content if content is not None else abort(404), mimetype="text/plain")


def _directory() -> Path:
    return _settings().mailbox_dir or abort(404)


def _settings() -> Settings:
    settings: Settings = current_app.extensions["ownpost"]
    return settings
