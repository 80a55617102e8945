"""Reads the body of a reported event: strictly, naming every field that is wrong, before anything is done."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from panel.events import fields as read_as
from panel.events.fields import Fields
from panel.events.problems import Fault, Faults, Refused

MAX_SLUG: Final = 63
MAX_NAME: Final = 100
MAX_REWARD_ID: Final = 200
MAX_TEXT: Final = 300
MAX_KEY: Final = 255


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody named in a report. The address is normalised."""

    email: str
    first_name: str = ""
    last_name: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """An event as reported, checked. `reward` always says by its `to` who gets it."""

    type: str
    campaign: str
    referrer: Person | None
    friend: Person | None
    reward: dict[str, str] | None
    denial: dict[str, str] | None
    occurred_at: dt.datetime | None
    send_email: bool

    def payload(self) -> dict[str, Any]:
        """What is kept of it, as JSON."""
        told = {name: value for name, value in asdict(self).items() if value is not None}
        if self.occurred_at is not None:
            told["occurred_at"] = self.occurred_at.isoformat()
        return told


@dataclass(frozen=True, slots=True)
class Needs:
    """Which of the named parts a type of event needs, and which it may have besides."""

    required: frozenset[str]
    optional: frozenset[str] = frozenset()


TYPES: Final[Mapping[str, Needs]] = {
    "referrer.joined": Needs(frozenset({"referrer"})),
    "referral.created": Needs(frozenset({"referrer", "friend"})),
    "referral.qualified": Needs(frozenset({"friend"}), frozenset({"referrer"})),
    "referral.denied": Needs(frozenset({"friend"}), frozenset({"referrer", "denial"})),
    "reward.issued": Needs(frozenset({"reward"}), frozenset({"referrer", "friend"})),
}

_COMMON: Final = frozenset({"type", "campaign", "occurred_at", "send_email"})
_PERSON: Final = frozenset({"email", "first_name", "last_name"})
_REWARD: Final = frozenset({"id", "name", "value", "code", "expires_on", "to"})


def read(body: object) -> Report:
    """The report, or Refused (422) with everything that is wrong with it."""
    if not isinstance(body, dict):
        raise Refused(422, [Fault("", "An event must be a JSON object.")])
    faults = Faults()
    fields = Fields(body, "", faults)
    kind = fields.read("type", read_as.one_of(*TYPES), required=True)
    if kind is None:
        # What else is needed depends on the type.
        raise Refused(422, faults.told, more=faults.more)
    needs = TYPES[kind]
    fields = fields.only(_COMMON | needs.required | needs.optional, about=f"An event of type {kind}")
    report = Report(
        type=kind,
        campaign=fields.read("campaign", read_as.text(MAX_SLUG, least=1), required=True) or "",
        referrer=_person(fields, "referrer", needs),
        friend=_person(fields, "friend", needs),
        reward=_reward(fields, needs),
        denial=_denial(fields),
        occurred_at=fields.read("occurred_at", read_as.time),
        send_email=fields.read("send_email", read_as.flag) is not False,
    )
    if not faults:
        _check_people(report, faults)
    if faults:
        raise Refused(422, faults.told, more=faults.more)
    return report


def _person(fields: Fields, name: str, needs: Needs) -> Person | None:
    inner = fields.inner(name, _PERSON, required=name in needs.required)
    if inner is None:
        return None
    return Person(
        email=inner.read("email", read_as.address, required=True) or "",
        first_name=inner.read("first_name", read_as.text(MAX_NAME)) or "",
        last_name=inner.read("last_name", read_as.text(MAX_NAME)) or "",
    )


def _reward(fields: Fields, needs: Needs) -> dict[str, str] | None:
    inner = fields.inner("reward", _REWARD, required="reward" in needs.required)
    if inner is None:
        return None
    # Where only one person is named there is no doubt about who gets it.
    named = [name for name in ("referrer", "friend") if name in fields]
    only = named[0] if len(named) == 1 else None
    told = {
        "id": inner.read("id", read_as.text(MAX_REWARD_ID, least=1), required=True),
        "to": inner.read("to", read_as.one_of("referrer", "friend"), required=only is None) or only,
        "name": inner.read("name", read_as.text(MAX_TEXT)),
        "value": inner.read("value", read_as.text(MAX_TEXT)),
        "code": inner.read("code", read_as.text(MAX_TEXT)),
        "expires_on": inner.read("expires_on", read_as.date),
    }
    return {name: value for name, value in told.items() if value}


def _denial(fields: Fields) -> dict[str, str] | None:
    inner = fields.inner("denial", frozenset({"reason"}))
    if inner is None:
        return None
    reason = inner.read("reason", read_as.text(MAX_TEXT))
    return {"reason": reason} if reason else {}


def _check_people(report: Report, faults: Faults) -> None:
    if report.referrer and report.friend and report.referrer.email == report.friend.email:
        faults.add("/friend/email", "Nobody can refer themselves: friend and referrer have the same address.")
    if report.reward and getattr(report, report.reward["to"]) is None:
        to = report.reward["to"]
        faults.add(f"/{to}", f"The reward goes to the {to}, so `{to}` must say who that is.")


def fingerprint(body: object) -> str:
    """Tells whether two bodies say the same: the order of members and the blanks between them do not matter."""
    return hashlib.sha256(json.dumps(body, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def check_key(key: object, pointer: str) -> str | None:
    """An idempotency key; None when there is none. Refused (422) when it cannot be one."""
    if key is None:
        return None
    if not isinstance(key, str) or not 1 <= len(key) <= MAX_KEY or not key.isascii() or not key.isprintable():
        raise Refused(422, [Fault(pointer, f"An idempotency key has 1 to {MAX_KEY} printable ASCII characters.")])
    return key
