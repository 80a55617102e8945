"""Takes reported events, several in one transaction: what they need is read once, what they cause is written at once.

An event that is refused is refused before anything is changed for it, so the others stand. What the database refuses
undoes all of the transaction, and is the caller's to try again.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select

from panel import db
from panel.campaigns import service as campaigns
from panel.deliveries import service as deliveries
from panel.deliveries.service import Desk, Happening
from panel.events import answers, people
from panel.events.models import Event, IdempotentRequest
from panel.events.problems import Refused, refused
from panel.events.reading import Report
from panel.outbox import service as outbox
from panel.participants.service import Crowd


@dataclass(frozen=True, slots=True)
class Given:
    """An event as it came, read."""

    report: Report
    key: str | None
    hashed: str


@dataclass(frozen=True, slots=True)
class Accepted:
    """What the caller is told: 202 for news, 200 for what was reported before."""

    status: int
    answer: dict[str, Any]


@dataclass(slots=True)
class _Taken:
    """An event of now or before, with what it causes: orders while it is being taken, deliveries once they are made."""

    event: Event
    orders: list[outbox.Order] = field(default_factory=list)
    queued: list[outbox.Delivery] = field(default_factory=list)


@dataclass(slots=True)
class _Said:
    """What will be said of a given event once all is written."""

    taken: _Taken
    duplicate: bool
    key: str | None
    hashed: str
    answer: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Same:
    """An event that came twice with the same key in this transaction: it gets the same answer."""

    said: _Said


_Outcome = Accepted | Refused | _Said | _Same


def take(some: Sequence[Given]) -> list[Accepted | Refused]:
    """Takes events in their order, in one transaction; the answers are in the same order."""
    with db.transaction():
        work = _Work(some)
        outcomes = [work.take(given) for given in some]
        return work.settle(outcomes)


class _Work:
    """One transaction's worth of events."""

    def __init__(self, some: Sequence[Given]) -> None:
        slugs = {given.report.campaign for given in some}
        self._campaigns = {slug: campaign for slug in slugs if (campaign := campaigns.by_slug(slug))}
        self._answered = _answered({given.key for given in some if given.key is not None})
        keys = {natural_key(campaign, given.report) for given in some if (campaign := self._campaign(given))}
        found = select(Event).where(Event.natural_key.in_(keys))
        known = {event.natural_key: event for event in db.session().scalars(found)}
        queued = outbox.of_events({event.id for event in known.values()})
        self._known = {key: _Taken(event, queued=queued.get(event.id, [])) for key, event in known.items()}
        self._said: list[_Said] = []
        self._keyed: dict[str, _Said] = {}
        self._new: list[_Taken] = []
        addresses: dict[uuid.UUID, set[str]] = {}
        for given in some:
            if (campaign := self._campaign(given)) and natural_key(campaign, given.report) not in known:
                addresses.setdefault(campaign.id, set()).update(people.addresses_of(given.report))
        self._crowd = Crowd(addresses)
        self._desk = Desk(addresses)

    def _campaign(self, given: Given) -> campaigns.Campaign | None:
        return self._campaigns.get(given.report.campaign)

    def take(self, given: Given) -> _Outcome:
        """Takes one, writing nothing yet."""
        try:
            earlier = self._earlier(given)
            if earlier is not None:
                return earlier
            taken, duplicate = self._take(given.report)
        except Refused as error:
            return error
        said = _Said(taken, duplicate, given.key, given.hashed)
        self._said.append(said)
        if given.key is not None:
            self._keyed[given.key] = said
        return said

    def _earlier(self, given: Given) -> _Outcome | None:
        """What was, or will be, answered to the same key before. Raises Refused."""
        if given.key is None:
            return None
        before, now = self._answered.get(given.key), self._keyed.get(given.key)
        hashed = before.body_hash if before else now.hashed if now else given.hashed
        if hashed != given.hashed:
            raise refused(409, "", "This idempotency key came with another body before.")
        if before is not None:
            return Accepted(200, before.answer)
        return _Same(now) if now is not None else None

    def _take(self, report: Report) -> tuple[_Taken, bool]:
        campaign = self._campaigns.get(report.campaign)
        if campaign is None:
            raise refused(404, "/campaign", "There is no campaign with this slug.")
        key = natural_key(campaign, report)
        if key in self._known:
            return self._known[key], True
        involved = people.involve(self._crowd, campaign, report)
        event = Event(
            id=uuid.uuid4(),
            account_id=db.account_id(),
            campaign_id=campaign.id,
            type=report.type,
            natural_key=key,
            payload=report.payload(),
            occurred_at=report.occurred_at or db.now(),
        )
        taken = self._known[key] = _Taken(event, self._orders(campaign, report, event, involved))
        self._new.append(taken)
        return taken, False

    def _orders(
        self, campaign: campaigns.Campaign, report: Report, event: Event, involved: people.Involved
    ) -> list[outbox.Order]:
        if not report.send_email:
            return []
        happening = Happening(
            event_id=event.id,
            event_type=event.type,
            campaign=campaign,
            referrer=involved.referrer,
            friend=involved.friend,
            reward=report.reward,
            denial=report.denial,
        )
        return deliveries.orders_for(happening, self._desk)

    def settle(self, outcomes: Sequence[_Outcome]) -> list[Accepted | Refused]:
        """Writes what all of them caused, in the order that foreign keys ask for, and answers."""
        session = db.session()
        session.flush()  # people, then events, then letters
        session.add_all(taken.event for taken in self._new)
        session.flush()
        made = iter(outbox.put_each([order for taken in self._new for order in taken.orders]))
        for taken in self._new:
            taken.queued = [next(made) for _ in taken.orders]
        for said in self._said:
            kinds = self._desk.kinds(said.taken.event.campaign_id) if said.taken.queued else {}
            said.answer = answers.event(said.taken.event, said.taken.queued, kinds, duplicate=said.duplicate)
            if said.key is not None:
                session.add(IdempotentRequest(key=said.key, body_hash=said.hashed, answer=said.answer))
        return [_final(outcome) for outcome in outcomes]


def _final(outcome: _Outcome) -> Accepted | Refused:
    match outcome:
        case _Said():
            return Accepted(200 if outcome.duplicate else 202, outcome.answer)
        case _Same():
            return Accepted(200, outcome.said.answer)
    return outcome


def _answered(keys: set[str]) -> dict[str, IdempotentRequest]:
    if not keys:
        return {}
    found = select(IdempotentRequest).where(IdempotentRequest.key.in_(keys))
    return {each.key: each for each in db.session().scalars(found)}


def natural_key(campaign: campaigns.Campaign, report: Report) -> str:
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
