"""The API: events in, deliveries asked after."""

from __future__ import annotations

import json
from collections.abc import Sequence
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
from panel.web import access, limits, problems

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
    refusal = _limited(caller) or _out_of_scope(caller)
    if refusal is not None:
        return refusal
    g.api_scope = ExitStack()
    g.api_scope.enter_context(db.account_scope(caller.account_id))
    g.api_scope.enter_context(actor.acting(Actor(kind=actor.KEY, name=caller.name, ip=request.remote_addr or "")))
    return None


def _limited(caller: accounts.Caller) -> Response | None:
    wait = limits.hit_api(caller.key_id)
    if wait is None:
        return None
    words = f"This key is used too often. Go on in {limits.in_words(wait)}; a batch takes many events in one call."
    answer = problems.answer(problems.body(429, words))
    answer.headers["Retry-After"] = str(wait)
    return answer


def _out_of_scope(caller: accounts.Caller) -> Response | None:
    scope = access.scope_of(current_app, str(request.endpoint))
    if scope in caller.scopes:
        return None
    words = f"This key lacks the scope {scope}. An owner of the account can make one that has it: Settings, API keys."
    answer = problems.answer(problems.body(403, words))
    # RFC 6750 section 3.1
    answer.headers["WWW-Authenticate"] = f'Bearer realm="Ownpost", error="insufficient_scope", scope="{scope}"'
    return answer


@blueprint.teardown_request
def _close(_error: BaseException | None = None) -> None:
    scope = g.pop("api_scope", None)
    if scope is not None:
        scope.close()


@blueprint.errorhandler(Refused)
def _refused(error: Refused) -> Response:
    return problems.answer(error.problem())


@blueprint.post("/events")
@access.api("events:write")
def report() -> tuple[Response, int]:
    """Takes one event."""
    accepted = service.accept(_body(at_most=_MAX_EVENT_BYTES), request.headers.get("Idempotency-Key"))
    return jsonify(accepted.answer), accepted.status


@blueprint.post("/events/batch")
@access.api("events:write")
def report_batch() -> Response:
    """Takes up to 1,000 events, each for itself."""
    return jsonify(results=service.accept_batch(_body(at_most=_MAX_BATCH_BYTES)))


@blueprint.get("/deliveries/<int(max=9223372036854775807):delivery_id>")
@access.api("deliveries:read")
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
        return json.loads(body.decode("utf-8"), parse_constant=_no_constant, object_pairs_hook=_members)
    except (ValueError, RecursionError):
        abort(400, "The body is not JSON in UTF-8.")


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _members(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for name, value in pairs:
        if name in members:
            # Of two members with one name each reader takes another one (RFC 8259 section 4).
            abort(400, f"The member `{name[:100]}` appears twice in one object.")
        members[name] = value
    return members
