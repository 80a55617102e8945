"""What the tests of sessions share: a session to a port on loopback, and what its observer saw."""

import socket
import threading
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from panel.smtp.destination import DestinationPolicy
from panel.smtp.outcome import FailureCode, Outcome, SmtpFailure
from panel.smtp.session import Session
from panel.smtp.settings import AuthMethod, Security, ServerSettings
from panel.smtp.steps import Step, StepEvent, StepState
from panel.smtp.timeouts import Timeouts

LETTER = b"Subject: Hello\r\n\r\nA line.\r\n.A line with a dot.\r\n"
SENDER, RECIPIENT = "owner@example.org", "friend@example.net"
USERNAME, PASSWORD = "owner@example.org", "correct horse 1"

PATIENT = Timeouts(open=10, greeting=10, reply=10, data=10, body=10, final_dot=10, quit=10)


def short(**seconds: float) -> Timeouts:
    """Time-outs that are long but for these, which a test waits for."""
    return replace(PATIENT, **seconds)


@dataclass
class Watcher:
    """An observer that keeps what it is told, and can be waited on."""

    events: list[StepEvent] = field(default_factory=list)
    _told: threading.Condition = field(default_factory=threading.Condition)

    def __call__(self, event: StepEvent) -> None:
        with self._told:
            self.events.append(event)
            self._told.notify_all()

    def wait_until_running(self, step: Step) -> None:
        with self._told:
            assert self._told.wait_for(
                lambda: any(event.step is step and event.state is StepState.RUNNING for event in self.events), 5
            )

    def ended(self) -> dict[str, str]:
        """How each step ended."""
        return {event.step: event.state for event in self.events if event.state is not StepState.RUNNING}

    def of(self, step: Step) -> StepEvent:
        """The event that ended a step."""
        return next(event for event in self.events if event.step is step and event.state is not StepState.RUNNING)

    @property
    def text(self) -> str:
        """All that was told, to look for what must not be in it."""
        return repr(self.events)


def session(
    port: int,
    *,
    security: str = "none",
    host: str = "localhost",
    auth: str = "auto",
    username: str = "",
    password: str = "",
    cleartext: bool = False,
    timeouts: Timeouts = PATIENT,
    policy: DestinationPolicy | None = None,
    ehlo_name: str = "client.example",
    **options: Any,
) -> Session:
    """A session, not opened yet, with a server on loopback."""
    return Session(
        settings=ServerSettings(
            host=host,
            port=port,
            security=Security(security),
            auth=AuthMethod(auth),
            username=username,
            password=password,
            cleartext_auth_allowed=cleartext,
        ),
        policy=policy or DestinationPolicy.parse(ports="25", allow=f"127.0.0.1:{port}"),
        ehlo_name=ehlo_name,
        timeouts=timeouts,
        **options,
    )


def failure_of_opening(port: int, **options: Any) -> Outcome:
    """Open a session, which must fail, and return why."""
    with session(port, **options) as client:
        with pytest.raises(SmtpFailure) as caught:
            client.open()
        assert not client.reusable
        assert caught.value.outcome.failure is not None
        return caught.value.outcome


def code_of_opening(port: int, **options: Any) -> FailureCode | None:
    """Open a session, which must fail, and return the failure code."""
    return failure_of_opening(port, **options).failure


def send(client: Session, letter: bytes = LETTER, recipient: str = RECIPIENT, **options: Any) -> Outcome:
    """Send a letter."""
    options.setdefault("before_body", lambda: None)
    options.setdefault("sender", SENDER)
    return client.send(recipient=recipient, letter=lambda _eightbit: letter, **options)


class full_queue:  # noqa: N801 - it is used like a function
    """A listener whose queue is full, so that the system drops further calls, as a filter would."""

    def __enter__(self) -> socket.socket:
        self.listener = socket.socket()
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(0)
        self.callers = [socket.socket() for _ in range(4)]
        for caller in self.callers:
            caller.setblocking(False)
            caller.connect_ex(self.listener.getsockname())
        return self.listener

    def __exit__(self, *_: object) -> None:
        for sock in (*self.callers, self.listener):
            sock.close()
