"""Takes what the API reports: once, whole or not at all, and with the letters it causes in the same transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import structlog
from sqlalchemy.exc import DBAPIError

from panel import db
from panel.events import answers, reading
from panel.events.forgetting import forget
from panel.events.problems import MOST, Fault, Refused, refused
from panel.events.taking import Accepted, Given, take

__all__ = ["forget"]

log = structlog.get_logger(__name__)

MAX_BATCH: Final = 1_000

# Events of a batch that share a transaction: enough that its cost is small beside theirs, few enough that others who
# wait for the same people, or on SQLite for any write, wait for some tens of milliseconds.
_TOGETHER: Final = 50

# Of calls at the same time one wins; the others find at their second try what it wrote.
_TRIES: Final = 5
_TRIES_TOGETHER: Final = 2


def accept(body: object, idempotency_key: object = None) -> Accepted:
    """Takes one reported event. Raises Refused, and then nothing was done."""
    given = _given(body, idempotency_key)
    [outcome] = _until_won([given], tries=_TRIES)
    if isinstance(outcome, Refused):
        raise outcome
    return outcome


def delivery(delivery_id: int) -> dict[str, Any]:
    """What the caller is told of one delivery. Raises NotFound."""
    return answers.delivery(delivery_id)


def accept_batch(body: object) -> list[dict[str, Any]]:
    """Takes up to 1,000 events, each for itself and in order; the answers are in the same order.

    Raises Refused for a body that is no batch.
    """
    events = body.get("events") if isinstance(body, dict) else None
    if not isinstance(events, list):
        raise refused(422, "/events", "A batch must be a JSON object with a list of `events`.")
    if len(events) > MAX_BATCH:
        raise refused(422, "/events", f"A batch has at most {MAX_BATCH:,} events; this one has {len(events):,}.")
    read = [_read_one_of_many(event, f"/events/{place}") for place, event in enumerate(events)]
    good = [each for each in read if isinstance(each, Given)]
    parts = (good[start : start + _TOGETHER] for start in range(0, len(good), _TOGETHER))
    taken = iter([outcome for part in parts for outcome in _take_together(part)])
    outcomes = [next(taken) if isinstance(each, Given) else each for each in read]
    room, told = MOST, list[dict[str, Any]]()
    for place, outcome in enumerate(outcomes):
        # Each says what is wrong with it first; what else is wrong all of them say within the room of one.
        told.append(_told(outcome, f"/events/{place}", most=max(1, room)))
        room -= min(room, len(outcome.faults)) if isinstance(outcome, Refused) else 0
    return told


def _given(body: object, key: object, *, path: str = "") -> Given:
    checked = reading.check_key(key, f"{path}/idempotency_key" if path else "")
    return Given(reading.read(body), checked, reading.fingerprint(body))


def _read_one_of_many(event: object, path: str) -> Given | Refused:
    members = dict(event) if isinstance(event, dict) else event
    key = members.pop("idempotency_key", None) if isinstance(members, dict) else None
    try:
        return _given(members, key, path=path)
    except Refused as error:
        return error


def _told(outcome: Accepted | Refused, path: str, *, most: int) -> dict[str, Any]:
    if isinstance(outcome, Refused):
        placed = [Fault(path + fault.pointer.removeprefix(path), fault.detail) for fault in outcome.faults]
        more = outcome.more + max(0, len(placed) - most)
        return Refused(outcome.status, placed[:most], more=more, about=path).problem()
    return {"status": outcome.status, **outcome.answer}


def _take_together(part: Sequence[Given]) -> Sequence[Accepted | Refused]:
    """Takes them in one transaction; one by one when others are at the same rows again and again."""
    try:
        return _until_won(part, tries=_TRIES_TOGETHER)
    except DBAPIError as error:
        if not db.is_collision(error):
            raise
    return [outcome for given in part for outcome in _until_won([given], tries=_TRIES)]


def _until_won(some: Sequence[Given], *, tries: int) -> Sequence[Accepted | Refused]:
    for _ in range(tries - 1):
        try:
            return take(some)
        except DBAPIError as error:
            if not db.is_collision(error):
                raise
            log.info("events collided with another call; trying again", error=type(error.orig).__name__)
    return take(some)
