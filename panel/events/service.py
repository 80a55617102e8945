"""Takes what the API reports: once, whole or not at all, and with the letters it causes in the same transaction."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import structlog
from psycopg.errors import DeadlockDetected
from sqlalchemy import select
from sqlalchemy.exc import DBAPIError, IntegrityError

from panel import db
from panel.campaigns import service as campaigns
from panel.deliveries import service as deliveries
from panel.events import answers, people, reading
from panel.events.models import Event, IdempotentRequest
from panel.events.problems import Fault, Refused, refused
from panel.events.reading import Report
from panel.outbox import service as outbox

log = structlog.get_logger(__name__)

MAX_BATCH: Final = 1_000

# Of calls at the same time one wins; the others find at their second try what it wrote.
_TRIES: Final = 5


@dataclass(frozen=True, slots=True)
class Accepted:
    """What the caller is told: 202 for news, 200 for what was reported before."""

    status: int
    answer: dict[str, Any]


def accept(body: object, idempotency_key: object = None, *, path: str = "") -> Accepted:
    """Takes one reported event; `path` is the JSON pointer of the body. Raises Refused, and then nothing was done."""
    key = reading.check_key(idempotency_key, f"{path}/idempotency_key" if path else "")
    report = reading.read(body)
    hashed = reading.fingerprint(body)
    return _until_won(lambda: _accept(report, key, hashed))


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
    return [_one_of_many(event, f"/events/{place}") for place, event in enumerate(events)]


def _one_of_many(event: object, path: str) -> dict[str, Any]:
    members = dict(event) if isinstance(event, dict) else event
    key = members.pop("idempotency_key", None) if isinstance(members, dict) else None
    try:
        accepted = accept(members, key, path=path)
    except Refused as error:
        placed = [Fault(path + fault.pointer.removeprefix(path), fault.detail) for fault in error.faults]
        return Refused(error.status, placed).problem()
    return {"status": accepted.status, **accepted.answer}


def _until_won(attempt: Callable[[], Accepted]) -> Accepted:
    for _ in range(_TRIES - 1):
        try:
            return attempt()
        except DBAPIError as error:
            # Both say that another call was at the same rows at the same time. Anything else is trouble.
            if not isinstance(error, IntegrityError) and not isinstance(error.orig, DeadlockDetected):
                raise
            log.info("event collided with another call; trying again", error=type(error.orig).__name__)
    return attempt()


def _accept(report: Report, key: str | None, hashed: str) -> Accepted:
    with db.transaction() as session:
        earlier = _answered(key)
        if earlier is not None:
            if earlier.body_hash != hashed:
                raise refused(409, "", "This idempotency key came with another body before.")
            return Accepted(200, earlier.answer)
        accepted = _take(report)
        if key is not None:
            session.add(IdempotentRequest(key=key, body_hash=hashed, answer=accepted.answer))
        return accepted


def _answered(key: str | None) -> IdempotentRequest | None:
    if key is None:
        return None
    return db.session().scalar(select(IdempotentRequest).where(IdempotentRequest.key == key))


def _take(report: Report) -> Accepted:
    campaign = campaigns.by_slug(report.campaign)
    if campaign is None:
        raise refused(404, "/campaign", "There is no campaign with this slug.")
    natural_key = _natural_key(campaign, report)
    first = db.session().scalar(select(Event).where(Event.natural_key == natural_key))
    if first is not None:
        return Accepted(200, answers.event(first, outbox.of_event(first.id), duplicate=True))
    involved = people.involve(campaign, report)
    event = Event(
        campaign_id=campaign.id,
        type=report.type,
        natural_key=natural_key,
        payload=report.payload(),
        occurred_at=report.occurred_at or db.now(),
    )
    session = db.session()
    session.add(event)
    session.flush()
    return Accepted(202, answers.event(event, _queue(campaign, report, event, involved), duplicate=False))


def _queue(
    campaign: campaigns.Campaign, report: Report, event: Event, involved: people.Involved
) -> list[outbox.Delivery]:
    if not report.send_email:
        return []
    return deliveries.queue_for(
        campaign=campaign,
        event_id=event.id,
        event_type=event.type,
        referrer=involved.referrer,
        friend=involved.friend,
        reward=report.reward,
        denial=report.denial,
    )


def _natural_key(campaign: campaigns.Campaign, report: Report) -> str:
    """What makes it the same event. Told from the report alone, so that a repeat touches nobody's row."""
    referrer = report.referrer.email if report.referrer else ""
    friend = report.friend.email if report.friend else ""
    identity: Mapping[str, tuple[str, ...]] = {
        "referrer.joined": (str(campaign.id), referrer),
        "referral.created": (str(campaign.id), referrer, friend),
        # A friend is referred once in a campaign, so the friend tells the referral.
        "referral.qualified": (str(campaign.id), friend),
        "referral.denied": (str(campaign.id), friend),
        "reward.issued": (report.reward["id"] if report.reward else "",),
    }
    # No part holds a NUL, so it cannot be moved from one part to the next.
    hashed = hashlib.sha256("\0".join(identity[report.type]).encode()).hexdigest()
    return f"{report.type}:{hashed}"
