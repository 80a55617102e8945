"""The API described for programs (OpenAPI 3.1), from the same bounds that the reader of events checks."""

from __future__ import annotations

from typing import Any

from panel.events.schemas import KEY, schemas
from panel.events.schemas import ref as _ref

_KEYS = (
    "A key of your account, made under Settings, API keys. Its scopes say what it may do: `events:write` to report "
    "events, `deliveries:read` to read how deliveries are doing."
)
_WHO = {"WWW-Authenticate": {"required": True, "schema": {"type": "string"}, "description": "RFC 6750."}}
_TO_DELIVERY = {
    "delivery": {"operationId": "getDelivery", "parameters": {"id": "$response.body#/deliveries/0/id"}},
}
_WHEN = {
    "Retry-After": {"required": True, "schema": {"type": "string", "pattern": "^[0-9]+$"}, "description": "Seconds."}
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
        "paths": {
            "/events": {"post": _report()},
            "/events/batch": {"post": _report_batch()},
            "/deliveries/{id}": {"get": _get_delivery()},
            "/openapi.json": {"get": _get_description()},
        },
        "components": {
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "description": _KEYS}},
            "schemas": schemas(),
        },
    }


def _answer(description: str, schema: dict[str, Any], media_type: str = "application/json") -> dict[str, Any]:
    return {"description": description, "content": {media_type: {"schema": schema}}}


def _problems(scope: str, **described: str) -> dict[str, Any]:
    told = {status.removeprefix("s"): words for status, words in described.items()}
    told |= {
        "401": "The key is missing, unknown or revoked.",
        "403": f"The key lacks the scope `{scope}`.",
        "429": "The key is used too often; Retry-After says when to come back.",
    }
    headers = {"401": _WHO, "403": _WHO, "429": _WHEN}
    return {
        status: _answer(words, _ref("Problem"), "application/problem+json")
        | ({"headers": headers[status]} if status in headers else {})
        for status, words in sorted(told.items())
    }


def _report() -> dict[str, Any]:
    key = {
        "name": "Idempotency-Key",
        "in": "header",
        "description": "The same key with the same body gets the same answer, and nothing is done again.",
        "schema": KEY,
    }
    return {
        "operationId": "reportEvent",
        "summary": "Report one event",
        "security": [{"key": ["events:write"]}],
        "parameters": [key],
        "requestBody": {"required": True, "content": {"application/json": {"schema": _ref("Event")}}},
        "responses": {
            "202": _answer("Taken. The deliveries are on their way.", _ref("Accepted")) | {"links": _TO_DELIVERY},
            "200": _answer("Taken before: the same key and body, or the same event.", _ref("Accepted")),
            **_problems(
                "events:write",
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
        "security": [{"key": ["events:write"]}],
        "requestBody": {"required": True, "content": {"application/json": {"schema": _ref("Batch")}}},
        "responses": {
            "200": _answer("Each event's answer, or its problem.", results),
            **_problems(
                "events:write",
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
        "security": [{"key": ["deliveries:read"]}],
        "parameters": [
            {"name": "id", "in": "path", "required": True, "schema": {"type": "string", "pattern": "^[0-9]+$"}}
        ],
        "responses": {
            "200": _answer("The delivery with every attempt.", _ref("Delivery")),
            **_problems("deliveries:read", s404="Your account has no such delivery."),
        },
    }


def _get_description() -> dict[str, Any]:
    return {
        "operationId": "getDescription",
        "summary": "This document",
        "security": [],
        "responses": {"200": _answer("OpenAPI 3.1.", {"type": "object"})},
    }
