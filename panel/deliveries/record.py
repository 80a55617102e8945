"""The record of an attempt: every change of a row is conditional on the claim's fence.

These are the statements; `recorder.py` gathers what several connections have to record into one transaction.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import CursorResult, insert, select, update

from panel import db
from panel.deliveries import holds
from panel.deliveries.claims import Claim, LeaseLost, held_by
from panel.deliveries.decide import Decision
from panel.outbox import states
from panel.outbox.service import Attempt, Delivery
from panel.smtp.outcome import Outcome

REPLY_LENGTH: Final = 1000


@dataclass(frozen=True, slots=True)
class Begun:
    """An attempt that is about to begin; `server` is what it is shown as."""

    claim: Claim
    server: str
    at: dt.datetime


@dataclass(frozen=True, slots=True)
class Sending:
    """A letter whose body is about to flow, by this server (None: the platform's), from this envelope."""

    claim: Claim
    server_id: Any
    server_version: int | None
    sent_from: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Ended:
    """An attempt that has ended; `steps` is what a test send showed."""

    claim: Claim
    outcome: Outcome
    decision: Decision
    at: dt.datetime
    steps: list[dict[str, Any]] | None = None


def begun(one: Begun) -> None:
    """Writes the attempt's row, before the attempt. In a transaction. Raises LeaseLost."""
    claim = one.claim
    if db.session().scalar(select(Delivery.id).where(held_by(claim))) is None:
        raise LeaseLost
    key = Attempt.delivery_id == claim.delivery_id, Attempt.fence == claim.fence
    if db.session().scalar(select(Attempt.id).where(*key)) is None:
        db.session().execute(insert(Attempt).values(**begun_row(one)))


def begun_row(one: Begun) -> dict[str, Any]:
    """The columns of a new attempt."""
    claim = one.claim
    return {
        "account_id": claim.account_id,
        "delivery_id": claim.delivery_id,
        "fence": claim.fence,
        "server": one.server,
        "started_at": one.at,
        "phase": "",
    }


def sending(one: Sending) -> None:
    """Writes that the letter's body is about to flow. In a transaction. Raises LeaseLost: nothing of it may flow."""
    change(
        one.claim,
        "sending",
        again="sending",  # asked for twice when a commit's answer was lost
        reason=None,
        server_id=one.server_id,
        server_version=one.server_version,
        sent_from=one.sent_from,
    )


def ended(one: Ended) -> bool:
    """Writes how an attempt ended. In a transaction. False when the claim was lost meanwhile."""
    decision = one.decision
    row: dict[str, Any] = {"reason": decision.reason, "lease_owner": None, "lease_until": None}
    if one.outcome.reply is not None:
        row["reply"] = one.outcome.reply[:REPLY_LENGTH]
    if decision.spent:
        row["attempts"] = Delivery.attempts + 1
    row["next_attempt_at"] = db.clock(decision.wait or 0.0)
    if decision.state == "sent":
        row["sent_at"] = db.clock()
    row |= holds.of_change(decision.state, spent=decision.spent)
    try:
        change(one.claim, decision.state, **row)
    except LeaseLost:
        _end_attempt(one, told=decision.state != "sent")
        return _late(one, row)
    _end_attempt(one, told=False)
    return True


def _late(one: Ended, row: dict[str, Any]) -> bool:
    """The lease lapsed while the server took its time. All that may still be learnt is that it said 250 after all."""
    if one.decision.state != "sent":
        return False
    claim = one.claim
    found = _execute(
        update(Delivery)
        .where(Delivery.id == claim.delivery_id, Delivery.fence == claim.fence, Delivery.state == "uncertain")
        .values(state="sent", **row)
    )
    return found == 1


def _end_attempt(one: Ended, *, told: bool) -> None:
    """told: an end that the attempt has already stands, since its delivery's state rests on it; what the server said
    is added all the same, for whoever has to judge."""
    claim = one.claim
    this = Attempt.delivery_id == claim.delivery_id, Attempt.fence == claim.fence
    row = ended_row(one)
    if told and not _execute(update(Attempt).where(*this, Attempt.ended_at.is_(None)).values(**row)):
        row = {name: value for name, value in row.items() if name not in ("ended_at", "outcome")}
        _execute(update(Attempt).where(*this).values(**row))
    elif not told:
        _execute(update(Attempt).where(*this).values(**row))


def ended_row(one: Ended) -> dict[str, Any]:
    """The columns that say how an attempt ended."""
    outcome = one.outcome
    return {
        "ended_at": one.at,
        "phase": str(outcome.phase),
        "outcome": one.decision.state,
        "about": str(outcome.about) if not outcome.accepted else None,
        "failure": str(outcome.failure) if outcome.failure else None,
        "code": outcome.code,
        "enhanced_code": outcome.enhanced,
        "reply": (outcome.reply or outcome.detail)[:REPLY_LENGTH] or None,
        "bytes_sent": outcome.bytes_sent,
        "steps": {"steps": one.steps} if one.steps else None,
    }


def abandoned(claim: Claim) -> None:
    """Ends an attempt that got no further than the envelope, as its delivery was taken away from it."""
    with db.transaction():
        _execute(
            update(Attempt)
            .where(Attempt.delivery_id == claim.delivery_id, Attempt.fence == claim.fence, Attempt.ended_at.is_(None))
            .values(ended_at=db.now(), outcome="lost")
        )


def set_aside(claim: Claim, state: str, *, reason: str) -> None:
    """Ends a claim without an attempt: `held`, `canceled`, `expired` or `failed`, with the reason. Raises LeaseLost."""
    row = holds.of_change(state, spent=False)
    with db.transaction():
        change(claim, state, reason=reason, lease_owner=None, lease_until=None, next_attempt_at=db.clock(), **row)


def change(claim: Claim, state: str, *, again: str | None = None, **row: Any) -> None:
    """Changes a claimed row's state as the table of transitions allows. Raises LeaseLost when it is not ours."""
    # A refusal before the body leaves a `deferred` row deferred: that is no change of state.
    sources = {*states.sources(state), *({state} if state in states.DUE else ()), *([again] if again else ())}
    changed = _execute(update(Delivery).where(held_by(claim), Delivery.state.in_(sources)).values(state=state, **row))
    if changed != 1:
        raise LeaseLost


def _execute(statement: Any) -> int:
    result = db.session().execute(statement.execution_options(synchronize_session=False))
    assert isinstance(result, CursorResult)
    return result.rowcount
