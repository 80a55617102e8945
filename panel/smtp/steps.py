"""The steps of a session as they are shown to a person, live."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from panel.smtp.outcome import FailureCode, Outcome
from panel.smtp.settings import Security


class Step(StrEnum):
    """One step; `data` happens only when a letter is really sent."""

    RESOLVE = "resolve"
    CONNECT = "connect"
    GREETING = "greeting"
    TLS = "tls"
    HELLO = "hello"
    AUTH = "auth"
    SENDER = "sender"
    RECIPIENT = "recipient"
    DATA = "data"
    QUIT = "quit"


class StepState(StrEnum):
    """How a step stands."""

    RUNNING = "running"
    OK = "ok"
    FAILED = "failed"
    SKIPPED = "skipped"
    CANCELED = "canceled"


ORDER: tuple[Step, ...] = tuple(Step)


@dataclass(frozen=True, slots=True)
class StepEvent:
    """A step changed its state.

    `ms` is how long it took, in milliseconds, once it is over. `detail` is a sentence of ours, `code` the failure
    code of a failed step, `reply` the server's own words, cleaned.
    """

    step: Step
    state: StepState
    ms: int | None = None
    detail: str = ""
    code: str | None = None
    reply: str | None = None


Observer = Callable[[StepEvent], None]


def steps_for(security: Security, sending: bool) -> tuple[Step, ...]:
    """Return the steps in the order they happen: with TLS from the first byte, `tls` comes before `greeting`.

    `tls` is listed, to be shown as skipped, also where the connection is not encrypted.
    """
    steps = [step for step in ORDER if sending or step is not Step.DATA]
    if security is Security.TLS:
        steps.remove(Step.TLS)
        steps.insert(steps.index(Step.GREETING), Step.TLS)
    return tuple(steps)


def unreached(*, seen: Iterable[StepEvent], security: Security, sending: bool) -> tuple[StepEvent, ...]:
    """Return a closing event for each step that never ended, so that a finished list leaves nothing open.

    They are canceled when a step was canceled, and skipped otherwise.
    """
    events = list(seen)
    canceled = any(event.state is StepState.CANCELED for event in events)
    ended = {event.step for event in events if event.state is not StepState.RUNNING}
    state = StepState.CANCELED if canceled else StepState.SKIPPED
    return tuple(StepEvent(step, state) for step in steps_for(security, sending) if step not in ended)


class StepReporter:
    """Tells an observer how a session goes, and costs next to nothing when there is none."""

    def __init__(self, observer: Observer | None) -> None:
        self._observer = observer
        self._step: Step | None = None
        self._started = 0.0

    @property
    def observed(self) -> bool:
        """Whether somebody looks."""
        return self._observer is not None

    def running(self, step: Step) -> None:
        """Say that a step begins."""
        if self._observer is None:
            return
        self._step, self._started = step, time.monotonic()
        self._tell(StepEvent(step, StepState.RUNNING))

    def ok(self, detail: str, reply: str | None = None) -> None:
        """Say that the running step worked."""
        if self._observer is not None and self._step is not None:
            self._end(StepState.OK, detail, None, reply)

    def failed(self, outcome: Outcome) -> None:
        """Say that the running step failed, or was canceled."""
        if self._observer is not None and self._step is not None:
            state = StepState.CANCELED if outcome.failure is FailureCode.CANCELED else StepState.FAILED
            self._end(state, outcome.detail, outcome.failure, outcome.reply)

    def skipped(self, step: Step, detail: str) -> None:
        """Say that a step does not apply."""
        self._tell(StepEvent(step, StepState.SKIPPED, detail=detail))

    def _end(self, state: StepState, detail: str, code: FailureCode | None, reply: str | None) -> None:
        step, self._step = self._step, None
        if step is not None:
            ms = round((time.monotonic() - self._started) * 1000)
            self._tell(StepEvent(step, state, ms, detail, code, reply))

    def _tell(self, event: StepEvent) -> None:
        if self._observer is None:
            return
        try:
            self._observer(event)
        except Exception:  # noqa: BLE001 - a page that cannot be told must not change what happens to a letter
            self._observer = None
