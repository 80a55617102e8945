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
from typing import Any, Final, Self

from panel import live
from panel.smtp.outcome import FailureCode
from panel.smtp.settings import Security
from panel.smtp.steps import Step, StepEvent, StepState, steps_for, unreached

WAITING: Final = "waiting"
NO_WORKER_AFTER: Final = 5.0
"""Seconds after which a task that no worker took up is given up."""
SILENT_AFTER: Final = 22.0
"""Seconds after which a connection test without an end has lost its worker: it ends by itself within 20."""


class StepBoard:
    """What a live task's page shows of a session. Used by one thread at a time; after its end it says nothing more."""

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
        self._over = False
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

    @classmethod
    def again(cls, account_id: uuid.UUID, task: str) -> Self | None:
        """The board of a task begun elsewhere, as its newest snapshot has it; None when it is over or forgotten."""
        snapshot = live.latest(account_id, task)
        if snapshot is None or snapshot.over:
            return None
        data = snapshot.data
        board = cls(
            account_id,
            task,
            security=Security(data["context"]["security"]),
            sending=data["kind"] == "test_send",
            context=data["context"],
            started_at=data["started_at"],
        )
        board._data["state"], board._data["extra"] = data["state"], data["extra"]
        for step in data["steps"]:
            if step["state"] != WAITING:
                ended = (step["ms"], step["detail"], step["code"], step["reply"])
                board._events[Step(step["step"])] = StepEvent(Step(step["step"]), StepState(step["state"]), *ended)
        return board

    @property
    def started_at(self) -> float:
        """When the task was asked for, in seconds since the epoch."""
        return float(self._data["started_at"])

    def observe(self, event: StepEvent) -> None:
        """Takes a step's news and publishes it: a session's observer."""
        if not self._over:
            self._events[event.step] = event
            self._publish()

    def state(self, name: str, headline: str | None = None, **extra: Any) -> None:
        """Publishes what the task is at: "queued", "running", "sending"."""
        self._data["state"] = name
        self._data["headline"] = headline
        self._data["extra"].update(extra)
        self._publish()

    def fail(self, code: FailureCode, detail: str) -> None:
        """Marks the step that runs, or else the first, as failed, for what no mail server said."""
        running = [step for step, event in self._events.items() if event.state is StepState.RUNNING]
        step = running[-1] if running else steps_for(self._security, self._sending)[0]
        self.observe(StepEvent(step, StepState.FAILED, round((time.time() - self.started_at) * 1000), detail, code))

    def finish(self, result: str, headline: str | None = None, **extra: Any) -> None:
        """Publishes the end. Steps that never ended are closed, so that nothing seems to go on."""
        for event in unreached(seen=self._events.values(), security=self._security, sending=self._sending):
            state = StepState.CANCELED if result == "canceled" else event.state
            self._events[event.step] = StepEvent(event.step, state)
        self._over = True
        self._data["result"] = result
        self.state(result, headline, **extra)

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

    def _publish(self) -> None:
        live.publish(self._account_id, self._task, {**self._data, "steps": self.steps()}, over=self._over)


def cancel(account_id: uuid.UUID, task: str) -> None:
    """Asks a task to stop. One that no worker has taken up yet ends here and now."""
    live.cancel(account_id, task)
    board = StepBoard.again(account_id, task)
    if board is not None and live.claim(account_id, task):
        board.finish("canceled")


def give_up(account_id: uuid.UUID, task: str, *, result: str = "failed", headline: str | None = None) -> bool:
    """Ends a task that no worker took up in time, with `no_worker`; returns whether it did.

    It takes the task up itself, which only one can do: a worker that comes late finds it taken and leaves it.
    """
    board = StepBoard.again(account_id, task)
    if board is None or time.time() < board.started_at + NO_WORKER_AFTER or not live.claim(account_id, task):
        return False
    board.fail(FailureCode.NO_WORKER, "Nothing took this up within 5 seconds.")
    board.finish(result, headline)
    return True


def end_if_silent(account_id: uuid.UUID, task: str) -> bool:
    """Ends a connection test whose worker died over it; returns whether it did."""
    board = StepBoard.again(account_id, task)
    if board is None or time.time() < board.started_at + SILENT_AFTER:
        return False
    board.fail(FailureCode.TIMED_OUT, "The worker fell silent.")
    board.finish("failed")
    return True
