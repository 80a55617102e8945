"""How often passwords and codes may be tried and letters asked for: by the address that asks and by the name tried.

Names are counted whether anybody has them or not, so that the answer tells nobody which exist. See
docs/decisions/0009-slow-down-and-never-lock-out.md.
"""

from __future__ import annotations

import contextlib
from typing import Any

import structlog
from flask import Flask, Response, abort, current_app, g, request
from flask_login import current_user
from flask_security import EmailValidateException, password_reset, user_authenticated
from werkzeug.exceptions import TooManyRequests

from panel import rates
from panel.web import devices, limits

log = structlog.get_logger(__name__)

SIGN_IN_BY_NAME = "5/minute;30/hour"
SIGN_IN_BY_ADDRESS = "20/minute;100/hour"  # failures only
FORGOT_BY_NAME = "5/hour"
FORGOT_BY_ADDRESS = "10/minute;60/hour"
PASSWORD_AGAIN = "5/minute;30/hour"  # noqa: S105 - a rate
CODES = "5/minute;20/hour;50/day"


def install(app: Flask) -> None:
    """Watches the pages where somebody who is not signed in may try things."""
    app.before_request(_before)
    app.after_request(_after)
    user_authenticated.connect(_let_in, app)
    password_reset.connect(_let_in, app)


def _before() -> None:
    if request.method != "POST":
        return
    if request.endpoint in ("security.login", "security.forgot_password", "security.change_password"):
        # What is counted is read from a form; Flask-Security would take JSON as well.
        if request.is_json:
            abort(415)
        {"login": _sign_in, "forgot_password": _forgot, "change_password": _change}[request.endpoint[9:]]()


def _sign_in() -> None:
    # Counted before the password is looked at, or as many as come at once would all find room.
    wait = _hit(SIGN_IN_BY_ADDRESS, "sign-in address", limits.caller())
    g.sign_in_counted = wait is None
    _refuse(
        wait or _hit(SIGN_IN_BY_NAME, "sign-in name", *_counted_as(_name_tried())),
        "That was a lot of sign-ins in a short time. Try again in {wait}. If you have forgotten the password, "
        "choose a new one by “Forgotten your password?”.",
    )


def _forgot() -> None:
    _refuse(
        _hit(FORGOT_BY_ADDRESS, "forgot address", limits.caller()),
        "That was a lot of requests from where you are in a short time. Try again in {wait}.",
    )
    _refuse(
        _hit(FORGOT_BY_NAME, "forgot name", devices.digest(_name_tried())),
        "A link has been asked for several times lately. The last ones work for two hours: look for them in your "
        "mailbox, in its spam too, or ask again in {wait}.",
    )


def _change() -> None:
    if current_user.is_authenticated:
        _refuse(hit_password(), "That was a lot of wrong passwords in a short time. Try again in {wait}.")


def hit_password() -> int | None:
    """Counts one more try of the password of somebody who is signed in; the seconds to wait, if any."""
    return _hit(PASSWORD_AGAIN, "password", current_user.fs_uniquifier)


def forget_passwords() -> None:
    """The password was right."""
    rates.forget(PASSWORD_AGAIN, "password", current_user.fs_uniquifier)


def hit_code(user: Any) -> int | None:
    """Counts one more try of the second factor. A new password begins the count anew: what its owner then tries is not
    counted with what somebody tried who knew the old one."""
    return _hit(CODES, "code", user.fs_uniquifier)


def _hit(rate: str, *who: str) -> int | None:
    return rates.hit(rate, *who, guess=True)


def _refuse(wait: int | None, words: str) -> None:
    if wait is not None:
        log.warning("too many tries", path=request.path, address=limits.caller(), wait=wait)
        raise TooManyRequests(words.format(wait=limits.in_words(wait)), retry_after=wait)


def _after(answer: Response) -> Response:
    if g.pop("sign_in_counted", False):
        if answer.status_code == 200:
            # The form again: it was wrong. The name may be a password that was typed into the wrong field.
            log.warning("sign-in failed", name=devices.digest(_name_tried()), address=limits.caller())
        else:
            rates.give_back(SIGN_IN_BY_ADDRESS, "sign-in address", limits.caller())
    if name := g.pop("let_in", None):
        devices.remember(answer, name)
    return answer


def _let_in(_app: Flask, user: Any, authn_via: list[str] | None = None, **_: Any) -> None:
    name = _normal(user.email)
    rates.forget(SIGN_IN_BY_NAME, "sign-in name", *_counted_as(name))
    g.let_in = name
    log.info("signed in", user=str(user.id), account=str(user.account_id), address=limits.caller(), by=authn_via)


def _counted_as(name: str) -> tuple[str, ...]:
    device = devices.known_for(name)
    return (devices.digest(name), device) if device else (devices.digest(name),)


def _name_tried() -> str:
    return _normal(request.form.get("email", ""))


def _normal(name: str) -> str:
    # As Flask-Security looks people up: another spelling of a name is not another name.
    with contextlib.suppress(EmailValidateException):
        name = current_app.extensions["security"].mail_util.normalize(name)
    return name.strip().casefold()[:320]
