"""Headers on every answer."""

from __future__ import annotations

from flask import Flask, Response, current_app, request

from panel.config import Settings

CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "font-src 'self'; form-action 'self'; frame-src 'self'; base-uri 'none'; frame-ancestors 'none'"
)


# What a page may ask the browser for: passkeys and the clipboard, and nothing that watches or locates.
PERMISSIONS = ", ".join(
    [
        *(f"{name}=()" for name in ("camera", "microphone", "geolocation", "payment", "usb", "serial", "bluetooth")),
        *(f"{name}=(self)" for name in ("publickey-credentials-get", "publickey-credentials-create")),
    ]
)


def install(app: Flask) -> None:
    """Sets what the view has not set."""
    app.after_request(_headers)


def _headers(answer: Response) -> Response:
    answer.headers.setdefault("Content-Security-Policy", CSP)
    answer.headers.setdefault("X-Content-Type-Options", "nosniff")
    answer.headers.setdefault("Referrer-Policy", "same-origin")
    answer.headers.setdefault("X-Frame-Options", "DENY")
    answer.headers.setdefault("Cross-Origin-Opener-Policy", "same-origin")
    answer.headers.setdefault("Cross-Origin-Resource-Policy", "same-origin")
    answer.headers.setdefault("Permissions-Policy", PERMISSIONS)
    settings: Settings = current_app.extensions["ownpost"]
    if settings.secure_cookies:
        answer.headers.setdefault("Strict-Transport-Security", "max-age=31536000; includeSubDomains")
    if request.endpoint == "security.logout":
        # The theme, which is all that browser storage holds, says nothing of anybody and stays.
        answer.headers.setdefault("Clear-Site-Data", '"cache"')
    if request.endpoint == "static" and "v" in request.args:
        answer.headers["Cache-Control"] = "public, max-age=31536000, immutable"
    elif request.endpoint != "static":
        answer.headers.setdefault("Cache-Control", "no-store")
    return answer
