"""The steps of talking to a mail server, as a live task: kept in order and published as one picture after each change.

A snapshot's data, all of it plain and none of it secret:
    kind        "connection_test" or "test_send"
    state       "queued" until a worker begins, then what it is at ("running", "sending", ...)
    steps       [{step, state, ms, detail, code, reply}, ...] in the order they happen; "waiting" until a step begins
    result      None while it runs, then "ok", "failed", "canceled", or for a test send the delivery's state
    headline    one line of our own where the result alone says too little, else None
    context     {preset, host, port, security, ...}: what an explanation of a failure needs
    extra       whatever the page of this task shows besides
    started_at  seconds since the epoch
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from typing import Any, Final

from panel import live
from panel.smtp.outcome import FailureCode
from panel.smtp.settings import Security
from panel.smtp.steps import Step, StepEvent, StepState, steps_for, unreached

WAITING: Final = "waiting"
NO_WORKER_AFTER: Final = 5.0
"""Seconds after which a task that no worker took up is given up."""


class StepBoard:
    """What a live task's page shows of a session. Used by one thread at a time."""

    def __init__(
        self,
        account_id: uuid.UUID,
        task: str,
        *,
        security: Security,
        sending: bool,
        context: Mapping[str, Any],
        started_at: float | None = None,
    ) -> None:
        """`sending`: whether a letter is sent, which makes it a test send; `context` must hold no secret."""
        self._account_id = account_id
        self._task = task
        self._security = security
        self._sending = sending
        self._events: dict[Step, StepEvent] = {}
        self._data: dict[str, Any] = {
            "kind": "test_send" if sending else "connection_test",
            "state": "queued",
            "result": None,
            "headline": None,
            "context": dict(context),
            "extra": {},
            "started_at": time.time() if started_at is None else started_at,
        }

    def observe(self, event: StepEvent) -> None:
        """Takes a step's news and publishes it: a session's observer."""
        self._events[event.step] = event
        self._publish()

    def state(self, name: str, headline: str | None = None, **extra: Any) -> None:
        """Publishes what the task is at: "queued", "running", "sending"."""
        self._data["state"] = name
        self._tell(headline, extra)

    def finish(self, result: str, headline: str | None = None, **extra: Any) -> None:
        """Publishes the end. Steps that never ended are closed, so that nothing seems to go on."""
        for event in unreached(seen=self._events.values(), security=self._security, sending=self._sending):
            state = StepState.CANCELED if result == "canceled" else event.state
            self._events[event.step] = StepEvent(event.step, state)
        self._data["state"] = self._data["result"] = result
        self._tell(headline, extra, over=True)

    @property
    def failure(self) -> str | None:
        """The code of the step that failed, if one did."""
        return next((event.code for event in self._events.values() if event.state is StepState.FAILED), None)

    def steps(self) -> list[dict[str, Any]]:
        """The steps in order, as a snapshot holds them."""
        return [self._as_data(step) for step in steps_for(self._security, self._sending)]

    def _as_data(self, step: Step) -> dict[str, Any]:
        event = self._events.get(step)
        if event is None:
            return {"step": str(step), "state": WAITING, "ms": None, "detail": "", "code": None, "reply": None}
        return {
            "step": str(step),
            "state": str(event.state),
            "ms": event.ms,
            "detail": event.detail,
            "code": str(event.code) if event.code else None,
            "reply": event.reply,
        }

    def _tell(self, headline: str | None, extra: Mapping[str, Any], *, over: bool = False) -> None:
        self._data["headline"] = headline
        self._data["extra"].update(extra)
        self._publish(over=over)

    def _publish(self, *, over: bool = False) -> None:
        live.publish(self._account_id, self._task, {**self._data, "steps": self.steps()}, over=over)


def seconds_until_given_up(account_id: uuid.UUID, task: str) -> float | None:
    """How long a worker still has to take the task up: 0 when time is up, None when there is nothing to wait for."""
    snapshot = live.latest(account_id, task)
    if snapshot is None or snapshot.over or live.taken_up(account_id, task):
        return None
    return max(0.0, float(snapshot.data["started_at"]) + NO_WORKER_AFTER - time.time())


def give_up(account_id: uuid.UUID, task: str, *, result: str = "failed", headline: str | None = None) -> bool:
    """Ends a task that no worker took up in time, with `no_worker`; returns whether it did.

    It takes the task up itself, which only one can do: a worker that comes late finds it taken and leaves it.
    """
    snapshot = live.latest(account_id, task)
    if seconds_until_given_up(account_id, task) != 0.0 or snapshot is None or not live.claim(account_id, task):
        return False
    data = snapshot.data
    board = StepBoard(
        account_id,
        task,
        security=Security(data["context"]["security"]),
        sending=data["kind"] == "test_send",
        context=data["context"],
        started_at=data["started_at"],
    )
    first = Step(data["steps"][0]["step"])
    ms = round(NO_WORKER_AFTER * 1000)
    board.observe(StepEvent(first, StepState.FAILED, ms, "No worker took it up.", FailureCode.NO_WORKER))
    board.finish(result, headline, **data["extra"])
    return True
