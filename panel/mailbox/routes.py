"""Pages of the capture mailbox, for this machine only, without sign-in: a password reset must be readable."""

from __future__ import annotations

from pathlib import Path

from flask import Response, abort, current_app, render_template, request, url_for

from panel.config import Settings
from panel.mailbox import service
from panel.web import access, thismachine

blueprint = access.blueprint("mailbox", __name__)

PAGE = 50
# A letter's HTML is somebody else's: no script, no form, nothing fetched, and an origin of its own.
LETTER_CSP = "sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'; frame-ancestors 'self'"


@blueprint.before_request
def _this_machine_only() -> None:
    # The letters are everybody's, password resets too: whoever reads them could become anyone.
    if not thismachine.is_asking():
        abort(404)


@blueprint.app_template_global("mailbox_is_near")
def mailbox_is_near() -> bool:
    """Whether the navigation may lead there."""
    return thismachine.is_asking()


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
    settings: Settings = current_app.extensions["ownpost"]
    return settings.mailbox_dir or abort(404)
