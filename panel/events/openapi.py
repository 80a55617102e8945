"""The API described for programs (OpenAPI 3.1), from the same bounds that the reader of events checks."""

from __future__ import annotations

from typing import Any

from panel.events import reading
from panel.outbox import states

_EMAIL = {"type": "string", "format": "email", "maxLength": 320}
_TEXT = {"type": "string", "maxLength": reading.MAX_TEXT}
_NAME = {"type": "string", "maxLength": reading.MAX_NAME}
_TIME = {"type": "string", "format": "date-time"}
_TIME_OR_NULL = {"type": ["string", "null"], "format": "date-time"}
_STRING_OR_NULL = {"type": ["string", "null"]}
_STATE = {"type": "string", "enum": list(states.STATES)}

_WHAT_IT_MEANS = {
    "referrer.joined": "Somebody joined the campaign and has a referral link. The same event: campaign and referrer.",
    "referral.created": "A referrer referred a friend. The same event: campaign, referrer and friend.",
    "referral.qualified": "The referral qualified. Name the friend and, when it may be new here, the referrer. "
    "The same event: the referral.",
    "referral.denied": "The referral was denied. The same event: the referral.",
    "reward.issued": "A reward was issued to the person that `reward.to` names. The same event: `reward.id`.",
}


def description(public_url: str) -> dict[str, Any]:
    """The whole document."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Ownpost event API",
            "version": "1",
            "description": "Report what happens in a campaign; Ownpost sends the right email once. A repeated event "
            "mails nobody again and is answered with `duplicate: true`.",
        },
        "servers": [{"url": f"{public_url}/api/v1"}],
        "security": [{"key": []}],
        "paths": {
            "/events": {"post": _report()},
            "/events/batch": {"post": _report_batch()},
            "/deliveries/{id}": {"get": _get_delivery()},
            "/openapi.json": {"get": _get_description()},
        },
        "components": {
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "description": "A key of your account."}},
            "schemas": _schemas(),
        },
    }


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


def _answer(description: str, schema: dict[str, Any], media_type: str = "application/json") -> dict[str, Any]:
    return {"description": description, "content": {media_type: {"schema": schema}}}


def _problems(**described: str) -> dict[str, Any]:
    common = {
        "401": "The key is missing or unknown.",
        "429": "Too many requests; Retry-After says when to come back.",
    }
    told = {**{status.removeprefix("s"): words for status, words in described.items()}, **common}
    return {status: _answer(words, _ref("Problem"), "application/problem+json") for status, words in told.items()}


def _report() -> dict[str, Any]:
    key = {
        "name": "Idempotency-Key",
        "in": "header",
        "description": "The same key with the same body gets the same answer, and nothing is done again.",
        "schema": {"type": "string", "minLength": 1, "maxLength": reading.MAX_KEY},
    }
    return {
        "operationId": "reportEvent",
        "summary": "Report one event",
        "parameters": [key],
        "requestBody": {"required": True, "content": {"application/json": {"schema": _ref("Event")}}},
        "responses": {
            "202": _answer("Taken. The deliveries are on their way.", _ref("Accepted")),
            "200": _answer("Taken before: the same key and body, or the same event.", _ref("Accepted")),
            **_problems(
                s400="The body is not JSON.",
                s404="No such campaign, or no such referral.",
                s409="This idempotency key came with another body before.",
                s413="The body is larger than 64 KiB.",
                s415="The body does not say that it is JSON.",
                s422="A field is missing, unknown or wrong. Nothing was done.",
            ),
        },
    }


def _report_batch() -> dict[str, Any]:
    results = {
        "type": "object",
        "required": ["results"],
        "properties": {
            "results": {
                "type": "array",
                "description": "One for each event, in order, with the `status` that it would have had alone.",
                "items": {"oneOf": [_ref("BatchAccepted"), _ref("Problem")]},
            }
        },
    }
    return {
        "operationId": "reportEvents",
        "summary": "Report up to 1,000 events, each for itself",
        "requestBody": {"required": True, "content": {"application/json": {"schema": _ref("Batch")}}},
        "responses": {
            "200": _answer("Each event's answer, or its problem.", results),
            **_problems(
                s400="The body is not JSON.",
                s413="The body is larger than 2 MiB.",
                s415="The body does not say that it is JSON.",
                s422="This is no batch, or one of more than 1,000 events. Nothing was done.",
            ),
        },
    }


def _get_delivery() -> dict[str, Any]:
    return {
        "operationId": "getDelivery",
        "summary": "How a delivery is doing",
        "parameters": [
            {"name": "id", "in": "path", "required": True, "schema": {"type": "string", "pattern": "^[0-9]+$"}}
        ],
        "responses": {
            "200": _answer("The delivery with every attempt.", _ref("Delivery")),
            **_problems(s404="Your account has no such delivery."),
        },
    }


def _get_description() -> dict[str, Any]:
    return {
        "operationId": "getDescription",
        "summary": "This document",
        "security": [],
        "responses": {"200": _answer("OpenAPI 3.1.", {"type": "object"})},
    }


def _object(required: list[str], *, closed: bool = False, **properties: Any) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "object", "properties": properties}
    if required:
        schema["required"] = required
    if closed:
        schema["additionalProperties"] = False
    return schema


def _schemas() -> dict[str, Any]:
    person = _object(["email"], closed=True, email=_EMAIL, first_name=_NAME, last_name=_NAME)
    reward = _object(
        ["id"],
        closed=True,
        id={"type": "string", "minLength": 1, "maxLength": reading.MAX_REWARD_ID},
        name=_TEXT,
        value=_TEXT,
        code=_TEXT,
        expires_on={"type": "string", "format": "date"},
        to={
            "type": "string",
            "enum": ["referrer", "friend"],
            "description": "Who gets it. May be left out when the event names only one of the two.",
        },
    )
    event_types = {_schema_name(name): _event_type(name) for name in reading.TYPES}
    return {
        **event_types,
        "Event": {
            "oneOf": [_ref(name) for name in event_types],
            "discriminator": {
                "propertyName": "type",
                "mapping": {name: f"#/components/schemas/{_schema_name(name)}" for name in reading.TYPES},
            },
        },
        "Person": person,
        "Reward": reward,
        "Denial": _object([], closed=True, reason=_TEXT),
        "Batch": _object(["events"], events={"type": "array", "maxItems": 1000, "items": _ref("BatchEvent")}),
        "BatchEvent": {
            "description": "An event, to which an `idempotency_key` of its own may be added.",
            "type": "object",
            "required": ["type", "campaign"],
            "properties": {"idempotency_key": {"type": "string", "minLength": 1, "maxLength": reading.MAX_KEY}},
        },
        **_answers(),
    }


def _schema_name(event_type: str) -> str:
    return "".join(part.capitalize() for part in event_type.split("."))


def _event_type(name: str) -> dict[str, Any]:
    needs = reading.TYPES[name]
    refs = {"referrer": "Person", "friend": "Person", "reward": "Reward", "denial": "Denial"}
    parts = {part: _ref(refs[part]) for part in refs if part in needs.required | needs.optional}
    schema = _object(
        ["type", "campaign", *sorted(needs.required)],
        closed=True,
        type={"type": "string", "const": name},
        campaign={"type": "string", "maxLength": reading.MAX_SLUG, "description": "The campaign's slug."},
        **parts,
        occurred_at=_TIME,
        send_email={"type": "boolean", "default": True, "description": "false records the event and mails nobody."},
    )
    return {"description": _WHAT_IT_MEANS[name], **schema}


def _answers() -> dict[str, Any]:
    queued = _object(
        ["id", "notification", "to", "state"],
        id={"type": "string"},
        notification={**_STRING_OR_NULL, "description": "Which notification, such as `welcome`."},
        to=_EMAIL,
        state=_STATE,
        reason={**_STRING_OR_NULL, "description": "Why it is not on its way, such as `notification_disabled`."},
    )
    accepted = _object(
        ["id", "type", "duplicate", "deliveries"],
        id={"type": "string", "format": "uuid"},
        type={"type": "string"},
        duplicate={"type": "boolean", "description": "Whether the same event was reported before."},
        deliveries={"type": "array", "items": queued},
    )
    status = _object(["status"], status={"type": "integer", "enum": [200, 202]})
    fault = _object(["pointer", "detail"], pointer={"type": "string"}, detail={"type": "string"})
    return {
        "Accepted": accepted,
        "BatchAccepted": {"allOf": [_ref("Accepted"), status]},
        "Delivery": _delivery(),
        "Attempt": _attempt(),
        "Problem": {
            **_object(
                ["type", "title", "status"],
                type={"type": "string"},
                title={"type": "string"},
                status={"type": "integer"},
                detail={"type": "string"},
                errors={"type": "array", "items": fault, "description": "The fields to blame, by JSON pointer."},
            ),
            "description": "A problem (RFC 9457).",
        },
    }


def _delivery() -> dict[str, Any]:
    return _object(
        ["id", "kind", "to", "state", "attempts"],
        id={"type": "string"},
        kind={"type": "string", "enum": list(states.KINDS)},
        notification=_STRING_OR_NULL,
        to=_EMAIL,
        state={
            **_STATE,
            "description": "`sent`: accepted by the mail server. `uncertain`: it broke before it answered.",
        },
        reason=_STRING_OR_NULL,
        message_id={"type": "string"},
        created_at=_TIME,
        next_attempt_at=_TIME_OR_NULL,
        sent_at=_TIME_OR_NULL,
        resend_of=_STRING_OR_NULL,
        attempts={"type": "array", "items": _ref("Attempt")},
    )


def _attempt() -> dict[str, Any]:
    return _object(
        ["started_at", "server"],
        started_at=_TIME,
        ended_at=_TIME_OR_NULL,
        server={"type": "string"},
        phase={"type": "string", "description": "How far the conversation got."},
        outcome=_STRING_OR_NULL,
        code={"type": ["integer", "null"], "description": "The server's reply code (RFC 5321)."},
        enhanced_code={**_STRING_OR_NULL, "description": "Its enhanced status code (RFC 3463)."},
        reply=_STRING_OR_NULL,
    )
