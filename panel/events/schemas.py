"""The schemas of what the API takes and says, from the same bounds that the reader of events checks.

Each says exactly what is taken: what fits it is not refused for its form, and what does not is refused.
"""

from __future__ import annotations

from typing import Any

from panel.events import problems, reading
from panel.outbox import states

# What cannot stand in a header field: control characters, line breaks, and marks that turn the reading direction.
_UNFIT = "\\u0000-\\u001f\\u007f-\\u009f\\u2028-\\u202e\\u2066-\\u2069\\ufffe\\uffff"

_EMAIL = {"type": "string", "format": "email", "maxLength": 254}
_TEXT = {"type": ["string", "null"], "maxLength": reading.MAX_TEXT, "pattern": f"^[^{_UNFIT}]*$"}
_NAME = {**_TEXT, "maxLength": reading.MAX_NAME}
_TIME = {"type": "string", "format": "date-time"}
_TIME_OR_NULL = {"type": ["string", "null"], "format": "date-time"}
_STRING_OR_NULL = {"type": ["string", "null"]}
_ERRORS = (
    f"The fields to blame, by JSON pointer: the first {problems.MOST}, then how many more. A batch tells that many in "
    "all; of each event that it refuses, at least one."
)
_STATE = {"type": "string", "enum": list(states.STATES)}

KEY = {
    "type": "string",
    "minLength": 1,
    "maxLength": reading.MAX_KEY,
    "pattern": "^[!-~]([ -~]*[!-~])?$",
    "description": "Printable ASCII.",
}

_WHAT_IT_MEANS = {
    "referrer.joined": "Somebody joined the campaign and has a referral link. The same event: campaign and referrer.",
    "referral.created": "A referrer referred a friend. The same event: campaign, referrer and friend.",
    "referral.qualified": "The referral qualified. Name the friend and, when it may be new here, the referrer. "
    "The same event: the referral.",
    "referral.denied": "The referral was denied. The same event: the referral.",
    "reward.issued": "A reward was issued to the person that `reward.to` names. The same event: `reward.id`.",
}


def ref(name: str) -> dict[str, Any]:
    """A reference to one of these."""
    return {"$ref": f"#/components/schemas/{name}"}


def _object(required: list[str], *, closed: bool = False, **properties: Any) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "object", "properties": properties}
    if required:
        schema["required"] = required
    if closed:
        schema["additionalProperties"] = False
    return schema


def schemas() -> dict[str, Any]:
    person = _object(["email"], closed=True, email=_EMAIL, first_name=_NAME, last_name=_NAME)
    reward = _object(
        ["id"],
        closed=True,
        id={"type": "string", "maxLength": reading.MAX_REWARD_ID, "pattern": f"^[^{_UNFIT}]*[^ {_UNFIT}][^{_UNFIT}]*$"},
        name=_TEXT,
        value=_TEXT,
        code=_TEXT,
        expires_on={"type": ["string", "null"], "format": "date"},
        to={
            "enum": ["referrer", "friend", None],
            "description": "Who gets it. May be left out when the event names only one of the two.",
        },
    )
    event_types = {_schema_name(name): _event_type(name) for name in reading.TYPES}
    return {
        **event_types,
        "Event": {
            "oneOf": [ref(name) for name in event_types],
            "discriminator": {
                "propertyName": "type",
                "mapping": {name: f"#/components/schemas/{_schema_name(name)}" for name in reading.TYPES},
            },
        },
        "Person": person,
        "Reward": reward,
        "Denial": _object([], closed=True, reason=_TEXT),
        "Batch": _object(["events"], events={"type": "array", "maxItems": 1000, "items": ref("BatchEvent")}),
        "BatchEvent": {
            "description": "An `Event`, to which an `idempotency_key` of its own may be added. What is none gets its "
            "problem in its place among the results, and does not keep the others from being taken.",
            "properties": {"idempotency_key": True},
        },
        **_answers(),
    }


def _schema_name(event_type: str) -> str:
    return "".join(part.capitalize() for part in event_type.split("."))


def _event_type(name: str) -> dict[str, Any]:
    needs = reading.TYPES[name]
    refs = {"referrer": "Person", "friend": "Person", "reward": "Reward", "denial": "Denial"}
    parts = {part: ref(refs[part]) for part in refs if part in needs.required}
    parts |= {part: {"anyOf": [ref(refs[part]), {"type": "null"}]} for part in refs if part in needs.optional}
    schema = _object(
        ["type", "campaign", *sorted(needs.required)],
        closed=True,
        type={"type": "string", "const": name},
        campaign={
            "type": "string",
            "minLength": 1,
            "maxLength": reading.MAX_SLUG,
            "pattern": "^[a-z0-9-]+$",
            "description": "The campaign's slug.",
        },
        **parts,
        occurred_at={**_TIME_OR_NULL, "description": "Between the years 2000 and 2099; with its zone."},
        send_email={
            "type": ["boolean", "null"],
            "default": True,
            "description": "false records the event and mails nobody.",
        },
    )
    one_of_them = {"anyOf": _who_gets_it()} if "reward" in needs.required else {}
    return {"description": _WHAT_IT_MEANS[name], **schema, **one_of_them}


def _who_gets_it() -> list[dict[str, Any]]:
    """`reward.to` names somebody who is named; where only one is, it may be left out."""
    found: list[dict[str, Any]] = []
    for one, other in (("referrer", "friend"), ("friend", "referrer")):
        said = {"required": ["to"], "properties": {"to": {"const": one}}}
        left_out = {"properties": {"to": {"type": "null"}}}
        found += [
            {"required": [one], "properties": {one: ref("Person"), "reward": said}},
            {"required": [one], "properties": {one: ref("Person"), other: {"type": "null"}, "reward": left_out}},
        ]
    return found


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
        "BatchAccepted": {"allOf": [ref("Accepted"), status]},
        "Delivery": _delivery(),
        "Attempt": _attempt(),
        "Problem": {
            **_object(
                ["type", "title", "status"],
                type={"type": "string"},
                title={"type": "string"},
                status={"type": "integer"},
                detail={"type": "string"},
                errors={"type": "array", "items": fault, "description": _ERRORS},
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
        attempts={"type": "array", "items": ref("Attempt")},
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
