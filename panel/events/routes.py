"""The API: events in, deliveries asked after."""

from __future__ import annotations

import json
from contextlib import ExitStack
from typing import Any, NoReturn

from flask import Response, abort, current_app, g, jsonify, request
from flask.blueprints import BlueprintSetupState

from panel import actor, db
from panel.accounts import service as accounts
from panel.actor import Actor
from panel.events import service
from panel.events.openapi import description
from panel.events.problems import Refused
from panel.web import access, problems

blueprint = access.blueprint("events", __name__, url_prefix="/api/v1")

# One event is a few hundred bytes; a batch may be as large as any request may be.
_MAX_EVENT_BYTES = 64 * 1024
_MAX_BATCH_BYTES = 2 * 1024 * 1024


@blueprint.record_once
def _no_csrf_token(state: BlueprintSetupState) -> None:
    # A token guards what a cookie may do; the API takes no cookie.
    state.app.extensions["csrf"].exempt(blueprint)


@blueprint.before_request
def _authenticate() -> Response | None:
    """Opens the scope of the account whose key it is."""
    if request.endpoint is None or access.of(current_app, request.endpoint) == access.PUBLIC:
        return None
    given = request.authorization
    key = given.token if given is not None and given.type == "bearer" else None
    with db.system_scope("whose API key it is"):
        caller = accounts.find_api_key(key) if key else None
    if caller is None:
        words = "Send a key of your account: Authorization: Bearer KEY." if key is None else "There is no such key."
        return problems.answer(problems.body(401, words))
    g.api_scope = ExitStack()
    g.api_scope.enter_context(db.account_scope(caller.account_id))
    g.api_scope.enter_context(actor.acting(Actor(kind=actor.KEY, name=caller.name, ip=request.remote_addr or "")))
    return None


@blueprint.teardown_request
def _close(_error: BaseException | None = None) -> None:
    scope = g.pop("api_scope", None)
    if scope is not None:
        scope.close()


@blueprint.errorhandler(Refused)
def _refused(error: Refused) -> Response:
    return problems.answer(error.problem())


@blueprint.post("/events")
@access.api
def report() -> tuple[Response, int]:
    """Takes one event."""
    accepted = service.accept(_body(at_most=_MAX_EVENT_BYTES), request.headers.get("Idempotency-Key"))
    return jsonify(accepted.answer), accepted.status


@blueprint.post("/events/batch")
@access.api
def report_batch() -> Response:
    """Takes up to 1,000 events, each for itself."""
    return jsonify(results=service.accept_batch(_body(at_most=_MAX_BATCH_BYTES)))


@blueprint.get("/deliveries/<int(max=9223372036854775807):delivery_id>")
@access.api
def delivery(delivery_id: int) -> Response:
    """One delivery's state and attempts."""
    return jsonify(service.delivery(delivery_id))


@blueprint.get("/openapi.json")
@access.public
def openapi() -> Response:
    """All of this, described for programs."""
    return jsonify(description(current_app.extensions["ownpost"].public_url))


def _body(*, at_most: int) -> Any:
    """The JSON of the request. 400 for what is none (RFC 8259), 413 for too much, 415 for another kind."""
    if request.mimetype != "application/json":
        abort(415, "Send Content-Type: application/json.")
    body = request.get_data()
    if len(body) > at_most:
        abort(413, f"At most {at_most:,} bytes fit; this has {len(body):,}.")
    try:
        return json.loads(body.decode("utf-8"), parse_constant=_no_constant)
    except (ValueError, RecursionError):
        abort(400, "The body is not JSON in UTF-8.")


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
