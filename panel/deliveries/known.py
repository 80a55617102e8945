"""What is known of a letter that may or may not have been accepted: how much had left, when, and what broke."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import select

from panel import db
from panel.accounts import service as accounts
from panel.deliveries import reasons
from panel.outbox.service import Attempt, Delivery
from panel.smtp.outcome import FailureCode

_NOBODY_KNOWS: Final = "the server may or may not have accepted it."


@dataclass(frozen=True, slots=True)
class Doubt:
    """An uncertain delivery, and what is known of it."""

    delivery_id: int
    to_address: str
    words: str


def latest(count: int) -> list[Doubt]:
    """The newest deliveries of this account that are uncertain."""
    wanted = select(Delivery).where(Delivery.state == "uncertain").order_by(Delivery.id.desc()).limit(count)
    found = list(db.session().scalars(wanted))
    told = words_of(found)
    return [Doubt(one.id, one.to_address, told[one.id]) for one in found]


def words_of(some: Sequence[Delivery]) -> dict[int, str]:
    """What is known of those of the deliveries that are uncertain, in words, by their ids."""
    uncertain = [one for one in some if one.state == "uncertain"]
    attempts = _attempts([one.id for one in uncertain])
    return {one.id: _words(one, attempts.get(one.id)) for one in uncertain}


def _attempts(delivery_ids: Collection[int]) -> dict[int, Attempt]:
    if not delivery_ids:
        return {}
    wanted = select(Attempt).where(Attempt.delivery_id.in_(delivery_ids)).order_by(Attempt.fence)
    return {one.delivery_id: one for one in db.session().scalars(wanted)}  # the last one of each stays


def _words(delivery: Delivery, attempt: Attempt | None) -> str:
    if attempt is None:
        return reasons.words(delivery.reason)
    if attempt.bytes_sent is None and delivery.reason == "worker_lost":
        return (
            f"The worker was lost while the letter was on its way, in an attempt begun at {_time(attempt.started_at)}. "
            f"How much had left is not known; {_NOBODY_KNOWS}"
        )
    size = f" ({attempt.bytes_sent:,} bytes)" if attempt.bytes_sent else ""
    at = _time(attempt.ended_at or attempt.started_at)
    return f"The whole letter{size} had left when {_what_broke(attempt.failure)} at {at}; {_NOBODY_KNOWS}"


def _what_broke(failure: str | None) -> str:
    match failure:
        case FailureCode.TIMED_OUT:
            return "we stopped waiting for the server’s answer"
        case FailureCode.CANCELED:
            return "the worker was stopped"
    return "the connection broke"


def _time(value: dt.datetime) -> str:
    local = value.astimezone(accounts.zone())
    return f"{local:%H:%M:%S} on {local.day} {local:%b}"
