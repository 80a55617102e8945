"""Problem details (RFC 9457): how the API says what went wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from flask import Response, json, request

MEDIA_TYPE = "application/problem+json"


def wanted() -> bool:
    """Whether the request at hand is the API's, whatever came of it."""
    return request.path.startswith("/api/")


def body(status: int, detail: str | None, errors: Sequence[Mapping[str, str]] = ()) -> dict[str, Any]:
    """The members of a problem. `errors` name by `pointer` (RFC 6901) the fields that are to blame, if any are."""
    members: dict[str, Any] = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status}
    if detail:
        members["detail"] = detail
    if errors:
        members["errors"] = list(errors)
    return members


def answer(members: Mapping[str, Any]) -> Response:
    """The answer that carries a problem."""
    response = Response(json.dumps(members), status=members["status"], mimetype=MEDIA_TYPE)
    if members["status"] == HTTPStatus.UNAUTHORIZED:
        response.headers["WWW-Authenticate"] = 'Bearer realm="Ownpost"'
    return response
