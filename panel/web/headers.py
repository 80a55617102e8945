"""Headers on every answer."""

from __future__ import annotations

from flask import Flask, Response, request

CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "font-src 'self'; form-action 'self'; frame-src 'self'; base-uri 'none'; frame-ancestors 'none'"
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
    if request.is_secure:
        answer.headers.setdefault("Strict-Transport-Security", "max-age=31536000; includeSubDomains")
    if request.endpoint == "security.logout":
        # The theme, which is all that browser storage holds, says nothing of anybody and stays.
        answer.headers.setdefault("Clear-Site-Data", '"cache"')
    if request.endpoint == "static" and "v" in request.args:
        answer.headers["Cache-Control"] = "public, max-age=31536000, immutable"
    elif request.endpoint != "static":
        answer.headers.setdefault("Cache-Control", "no-store")
    return answer
