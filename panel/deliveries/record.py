"""The record of an attempt: every change of a row is conditional on the claim's fence."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import structlog
from sqlalchemy import CursorResult, update
from sqlalchemy.exc import OperationalError

from panel import db
from panel.deliveries import holds
from panel.deliveries.claims import Claim, LeaseLost, held_by
from panel.deliveries.decide import Decision
from panel.outbox import states
from panel.outbox.service import Attempt, Delivery
from panel.smtp.outcome import Outcome

log = structlog.get_logger(__name__)

_KEEP_TRYING = 60.0  # seconds that a result waits for a database that is away
_REPLY_LENGTH = 1000


def begun(claim: Claim, *, server: str) -> None:
    """Writes the attempt's row, before the attempt. In the account's scope. Raises LeaseLost."""
    with db.transaction() as session:
        delivery = session.get(Delivery, claim.delivery_id, populate_existing=True)
        if delivery is None or delivery.fence != claim.fence or delivery.lease_owner != claim.owner:
            raise LeaseLost
        session.add(
            Attempt(
                account_id=claim.account_id,
                delivery_id=claim.delivery_id,
                fence=claim.fence,
                server=server,
                started_at=db.now(),
            )
        )


def sending(claim: Claim, *, lease: float, **row: Any) -> None:
    """Commits that the letter's body is about to flow. Raises LeaseLost, and then nothing of it may flow."""
    with db.transaction():
        _change(claim, "sending", lease_until=db.clock(lease), **row)


def ended(claim: Claim, outcome: Outcome, decision: Decision, *, steps: list[dict[str, Any]] | None) -> bool:
    """Records how an attempt ended; waits for a database that is away. False when the claim was lost meanwhile."""
    return _persist(lambda: _ended(claim, outcome, decision, steps))


def _ended(claim: Claim, outcome: Outcome, decision: Decision, steps: list[dict[str, Any]] | None) -> bool:
    with db.transaction():
        _end_attempt(claim, outcome, decision, steps)
        row: dict[str, Any] = {"reason": decision.reason, "lease_owner": None, "lease_until": None}
        if outcome.reply is not None:
            row["reply"] = outcome.reply[:_REPLY_LENGTH]
        if decision.spent:
            row["attempts"] = Delivery.attempts + 1
        if decision.wait is not None:
            row["next_attempt_at"] = db.clock(decision.wait)
        if decision.state == "sent":
            row["sent_at"] = db.clock()
        row |= holds.of_change(decision.state, spent=decision.spent)
        try:
            _change(claim, decision.state, **row)
        except LeaseLost:
            return _late(claim, decision, row)
    return True


def _late(claim: Claim, decision: Decision, row: dict[str, Any]) -> bool:
    """The lease lapsed while the server took its time. All that may still be learnt is that it said 250 after all."""
    if decision.state != "sent":
        return False
    found = _execute(
        update(Delivery)
        .where(Delivery.id == claim.delivery_id, Delivery.fence == claim.fence, Delivery.state == "uncertain")
        .values(state="sent", **row)
    )
    return found == 1


def _end_attempt(claim: Claim, outcome: Outcome, decision: Decision, steps: list[dict[str, Any]] | None) -> None:
    _execute(
        update(Attempt)
        .where(Attempt.delivery_id == claim.delivery_id, Attempt.fence == claim.fence)
        .values(
            ended_at=db.now(),
            phase=str(outcome.phase),
            outcome=decision.state,
            about=str(outcome.about) if not outcome.accepted else None,
            failure=str(outcome.failure) if outcome.failure else None,
            code=outcome.code,
            enhanced_code=outcome.enhanced,
            reply=(outcome.reply or outcome.detail)[:_REPLY_LENGTH] or None,
            steps={"steps": steps} if steps else None,
        )
    )


def set_aside(claim: Claim, state: str, *, reason: str) -> None:
    """Ends a claim without an attempt: `held`, `canceled` or `expired`, with the reason."""
    with db.transaction():
        hold = holds.of_change(state, spent=False)
        _change(claim, state, reason=reason, lease_owner=None, lease_until=None, **hold)


def _change(claim: Claim, state: str, **row: Any) -> None:
    # A refusal before the body leaves a `deferred` row deferred: that is no change of state.
    sources = {*states.sources(state), *({state} if state in states.DUE else ())}
    changed = _execute(update(Delivery).where(held_by(claim), Delivery.state.in_(sources)).values(state=state, **row))
    if changed != 1:
        raise LeaseLost


def _execute(statement: Any) -> int:
    result = db.session().execute(statement.execution_options(synchronize_session=False))
    assert isinstance(result, CursorResult)
    return result.rowcount


def _persist(write: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + _KEEP_TRYING
    pause = 0.05
    while True:
        try:
            return write()
        except OperationalError as error:
            if time.monotonic() > deadline:
                raise
            log.warning("the database is away; the result of an attempt waits", error=type(error).__name__)
            time.sleep(pause)
            pause = min(pause * 2, 2.0)
