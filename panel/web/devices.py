"""Browsers that somebody has signed in with: whoever tries a name from one of them is not counted with the strangers.

A cookie says for which names this browser was let in before. It lets nobody in: it only has its attempts counted by
themselves, so that a stranger who keeps trying a name does not lock out its owner.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets

from flask import Response, current_app, request
from itsdangerous import BadSignature, URLSafeTimedSerializer

from panel.config import Settings

_DAYS = 180
_MOST_NAMES = 5


def digest(name: str) -> str:
    """A name that was tried, in a form that tells nothing to whoever reads Redis or the cookie."""
    return hmac.new(_settings().secret_key.encode(), b"tried name\0" + name.encode(), hashlib.sha256).hexdigest()[:32]


def known_for(name: str) -> str | None:
    """This browser's id, if somebody signed in with that name here."""
    device, names = _read()
    return device if digest(name) in names else None


def remember(answer: Response, name: str) -> None:
    """Notes in the browser that the name's owner signed in here."""
    device, names = _read()
    names = [digest(name), *(known for known in names if known != digest(name))][:_MOST_NAMES]
    answer.set_cookie(
        _cookie(),
        _serializer().dumps([device or secrets.token_hex(8), names]),
        max_age=_DAYS * 86_400,
        secure=_settings().secure_cookies,
        httponly=True,
        samesite="Lax",
    )


def _read() -> tuple[str | None, list[str]]:
    try:
        device, names = _serializer().loads(request.cookies.get(_cookie(), ""), max_age=_DAYS * 86_400)
    except BadSignature:
        return None, []
    return device, names


def _serializer() -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(_settings().secret_key, salt="ownpost-device")


def _cookie() -> str:
    return f"{_settings().cookie_prefix}ownpost-device"


def _settings() -> Settings:
    settings: Settings = current_app.extensions["ownpost"]
    return settings
