"""After a run: every delivery accounted for, against what the sink has taken."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Collection
from contextlib import suppress
from itertools import pairwise

from sqlalchemy import select

from panel import db
from panel.outbox.models import Attempt, Delivery
from tests.faults import results
from tests.faults.driver import UNSETTLED, Rig
from tests.faults.sink import Body
from tests.support.wait import wait_for

# How an attempt may end for each state of a delivery that has come to its end.
_LAST_OUTCOME = {"sent": {"sent", "uncertain"}, "uncertain": {"uncertain", "sent"}, "failed": {"failed", "deferred"}}


def reconcile(
    rig: Rig, *, what: str, uncertain_at_most: int | None = None, unsettled: Collection[str] = (), **figures: object
) -> None:
    """Fails unless the promise was kept, and writes the run down for docs/reliability.md.

    uncertain_at_most: unless given, one for each connection that was open when something was done to its worker.
    unsettled: the recipients of deliveries that rightly still wait.
    """
    limit = rig.open_connections() if uncertain_at_most is None else uncertain_at_most
    with suppress(TimeoutError):
        # A worker that lives, and was kept from its record for longer than a lease, brings it late.
        wait_for(lambda: rig.states()["uncertain"] <= limit, 20)
    with db.system_scope("tests") as session:
        rows = list(session.scalars(select(Delivery).where(Delivery.kind != "system")))
        attempts = list(session.scalars(select(Attempt).order_by(Attempt.delivery_id, Attempt.fence)))
    states = Counter(row.state for row in rows)
    problems = [
        *rig.sink.problems,
        *_letters(rows, rig.sink.bodies, unsettled),
        *_bodies(rig.sink.bodies),
        *_attempts(rows, attempts),
    ]
    if states["uncertain"] > limit:
        found = [(row.to_address, row.reason) for row in rows if row.state == "uncertain"]
        problems.append(f"{len(found)} are uncertain of at most {limit}: {found}; {rig.deeds}")
    results.write(
        what=what,
        database=db.engine().dialect.name,
        deliveries=sum(row.state != "canceled" for row in rows),
        accepted=len(rig.sink.accepted),
        lost=_lost(rows, rig.sink.bodies, unsettled),
        twice=sum(count > 1 for count in _accepted(rig.sink.bodies).values()),
        uncertain=states["uncertain"],
        uncertain_limit=limit,
        deeds=len(rig.deeds),
        states=dict(states),
        passed=not problems,
        seconds=round(time.monotonic() - rig.began, 1),
        **figures,
    )
    assert problems == [], "\n".join([*problems[:40], str(dict(states)), str(rig.deeds)])


def _accepted(bodies: list[Body]) -> Counter[str]:
    return Counter(body.message_id for body in bodies if body.accepted)


def _lost(rows: list[Delivery], bodies: list[Body], unsettled: Collection[str]) -> int:
    """How many were left behind, or are said to be sent and were not accepted."""
    accepted = _accepted(bodies)
    left = [row for row in rows if row.state in UNSETTLED and row.to_address not in unsettled]
    return len(left) + sum(row.state == "sent" and row.message_id not in accepted for row in rows)


def _letters(rows: list[Delivery], bodies: list[Body], unsettled: Collection[str]) -> list[str]:
    """Rows against letters."""
    accepted = _accepted(bodies)
    by_id = {row.message_id: row for row in rows}
    found = [f"{one} was accepted {count} times" for one, count in accepted.items() if count > 1]
    found += [f"{one} was accepted and is in no row" for one in accepted if one not in by_id]
    for row in rows:
        name = f"{row.to_address} ({row.state}, {row.reason})"
        if row.state in UNSETTLED and row.to_address not in unsettled:
            found.append(f"{name} was left behind")
        if row.state == "sent" and row.message_id not in accepted:
            found.append(f"{name} was never accepted")
        if row.message_id in accepted and row.state not in ("sent", "uncertain"):
            found.append(f"{name} was accepted")
        if row.state not in UNSETTLED and row.lease_until is not None:
            found.append(f"{name} still has a lease")
    return found


def _bodies(bodies: list[Body]) -> list[str]:
    """No body of a letter may flow while another of the same flows, or after it was accepted."""
    found = []
    by_recipient: defaultdict[str, list[Body]] = defaultdict(list)
    for body in bodies:
        by_recipient[body.recipient].append(body)
    for recipient, mine in by_recipient.items():
        for earlier, later in pairwise(mine):
            if earlier.accepted:
                found.append(f"the letter to {recipient} flowed again after it was accepted")
            if earlier.ended_at is not None and later.begun_at < earlier.ended_at:
                found.append(f"the letter to {recipient} flowed twice at once")
    return found


def _attempts(rows: list[Delivery], attempts: list[Attempt]) -> list[str]:
    """Every attempt has ended, and the last one explains the state."""
    found = []
    of: defaultdict[int, list[Attempt]] = defaultdict(list)
    for attempt in attempts:
        of[attempt.delivery_id].append(attempt)
    for row in rows:
        mine = of[row.id]
        name = f"{row.to_address} ({row.state}, {row.reason})"
        if row.state in ("sent", "uncertain") and not mine:
            found.append(f"{name} has no attempt")
        if row.state not in UNSETTLED and any(one.ended_at is None or one.outcome is None for one in mine):
            found.append(f"{name} has an attempt without an end: {[(one.fence, one.outcome) for one in mine]}")
        if mine and row.state in _LAST_OUTCOME and mine[-1].outcome not in _LAST_OUTCOME[row.state]:
            found.append(f"{name} has a last attempt that ended as {mine[-1].outcome}")
        if sum(one.outcome in ("sent", "uncertain") for one in mine) > 1:
            found.append(f"{name} has several attempts that may have sent it")
        # One that was lost said nothing of the letter to its server: its claim had gone to somebody else.
        tried = [one for one in mine if one.outcome != "lost"]
        found += [
            f"{name} has attempts that overlap: {[(one.fence, one.outcome) for one in mine]}"
            for earlier, later in pairwise(tried)
            if earlier.ended_at is not None and later.started_at < earlier.ended_at
        ]
    return found
