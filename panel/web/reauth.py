"""The password once more, before a sensitive change: asked for when it was last given more than 15 minutes ago.

What was typed is not lost: it waits, sealed, in a hidden field of the question, which is posted to the very address
that the change was posted to. With the right password the form is put back as it was, and the change goes on as if
nobody had asked. The seal is bound to the person, to this sign-in and to the address; it is good for ten minutes.
"""

from __future__ import annotations

import base64
import io
import json
import time
from urllib.parse import urlsplit

from flask import Response, current_app, make_response, render_template, request
from flask_login import current_user
from flask_security import verify_password
from werkzeug.datastructures import FileStorage, ImmutableMultiDict

from panel.config import Settings
from panel.crypto import SealBroken, UnknownKey
from panel.web import errors, limits, links, sessions, throttle

FORM = "reauth_form"
PASSWORD = "reauth_password"  # noqa: S105 - the name of a field
KEEP = 600  # seconds that what was typed waits
_COLUMN = "reauth.form"

_Fields = ImmutableMultiDict[str, str]
_Files = ImmutableMultiDict[str, FileStorage]
# Of the form itself; what protects it is made anew with every page.
_NOT_KEPT = ("csrf_token", FORM, PASSWORD)


def check(*, wanted: bool) -> Response | None:
    """The question, if the change must wait for its answer; None when it may go on.

    wanted: whether this request is a change that asks for the password at all.
    """
    if FORM in request.form:
        return _answered()
    if wanted and not sessions.is_recent():
        return _ask(_sealed())
    return None


def _answered() -> Response | None:
    sealed = request.form[FORM]
    typed = _unsealed(sealed)
    if typed is None:
        return errors.page(400, "What you had typed was kept for ten minutes, which are over. Please enter it again.")
    if not sessions.is_recent():
        wait = throttle.hit_password()
        if wait is not None:
            words = f"That was a lot of wrong passwords in a short time. Try again in {limits.in_words(wait)}."
            return _ask(sealed, words, status=429, retry_after=wait)
        if not is_right(request.form.get(PASSWORD, "")):
            return _ask(sealed, "That is not your password.")
        throttle.forget_passwords()
        sessions.confirm()
    request.form, request.files = typed
    return None


def is_right(password: str) -> bool:
    """Whether it is the password of whoever is signed in. Count the try first: `throttle.hit_password`."""
    normal = current_app.extensions["security"].password_util.normalize(password)
    return bool(password and current_user.password and verify_password(normal, current_user.password))


def _ask(sealed: str, error: str | None = None, *, status: int = 422, retry_after: int | None = None) -> Response:
    words = {
        "action": _here(),
        "sealed": sealed,
        "error": error,
        "back": _page_before(),
        "minutes": sessions.RECENT // 60,
    }
    if request.headers.get("HX-Request"):
        answer = make_response(render_template("security/_confirm.html", **words), status)
        # Over the page, which stays as it is, with all that is in its forms.
        answer.headers["HX-Retarget"] = "#reauth"
        answer.headers["HX-Reswap"] = "innerHTML"
    else:
        answer = make_response(render_template("security/confirm.html", **words), status)
    if retry_after is not None:
        answer.headers["Retry-After"] = str(retry_after)
    return answer


def _here() -> str:
    return request.full_path.rstrip("?")


def _page_before() -> str:
    """The page that the form was on, for whoever would rather not go on."""
    page = urlsplit(request.referrer or "")
    back = f"{page.path}?{page.query}".rstrip("?")
    return back if page.netloc == request.host and links.is_local(back) else "/"


def _sealed() -> str:
    fields = [(name, value) for name, value in request.form.items(multi=True) if name not in _NOT_KEPT]
    files = [
        (name, file.filename, file.content_type, base64.b64encode(file.read()).decode())
        for name, file in request.files.items(multi=True)
        if file.filename
    ]
    text = json.dumps({"until": time.time() + KEEP, "fields": fields, "files": files})
    return _settings().keyring.seal(text, column=_COLUMN, account_id=str(current_user.account_id), row_id=_place())


def _unsealed(sealed: str) -> tuple[_Fields, _Files] | None:
    try:
        text = _settings().keyring.unseal(
            sealed, column=_COLUMN, account_id=str(current_user.account_id), row_id=_place()
        )
    except (SealBroken, UnknownKey):
        return None
    kept = json.loads(text)
    if time.time() > kept["until"]:
        return None
    fields = [(name, value) for name, value in kept["fields"]]
    files = [
        (name, FileStorage(io.BytesIO(base64.b64decode(held)), filename=filename, name=name, content_type=kind))
        for name, filename, kind, held in kept["files"]
    ]
    return ImmutableMultiDict(fields), ImmutableMultiDict(files)


def _place() -> str:
    return f"{current_user.id} {sessions.sign_in_id()} {request.endpoint} {_here()}"


def _settings() -> Settings:
    settings: Settings = current_app.extensions["ownpost"]
    return settings
