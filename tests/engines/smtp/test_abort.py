"""Canceling from another thread: what is going on ends at once, and says `canceled`."""

import threading
import time
from collections.abc import Callable

import pytest

from panel.smtp.outcome import FailureCode, Outcome, SmtpFailure, Verdict
from panel.smtp.session import Session
from panel.smtp.settings import Security
from panel.smtp.steps import Step, StepState, steps_for, unreached
from tests.engines.smtp.kit import PATIENT, RECIPIENT, SENDER, Watcher, full_queue, send, session
from tests.support.mailserver import Peer, ScriptedServer


def canceled_while(client: Session, watcher: Watcher, step: Step, act: Callable[[], object]) -> Outcome:
    """Abort the session from another thread as soon as the step runs, and return what came of `act`."""

    def abort() -> None:
        watcher.wait_until_running(step)
        client.abort()

    thread = threading.Thread(target=abort)
    thread.start()
    began = time.monotonic()
    with pytest.raises(SmtpFailure) as caught:
        act()
    thread.join()
    assert time.monotonic() - began < 8  # seconds; otherwise it waits for ten
    assert caught.value.outcome.failure is FailureCode.CANCELED
    assert watcher.of(step).state is StepState.CANCELED
    assert not client.reusable
    return caught.value.outcome


def test_it_ends_a_look_up() -> None:
    let_go = threading.Event()

    def resolver(_host: str, _port: int) -> list[str]:
        let_go.wait(10)
        return []

    watcher = Watcher()
    with session(25, host="slow.example", timeouts=PATIENT, observer=watcher, resolver=resolver) as client:
        outcome = canceled_while(client, watcher, Step.RESOLVE, client.open)
    let_go.set()
    assert outcome.verdict is Verdict.NOT_SENT
    closing = unreached(seen=watcher.events, security=Security.NONE, sending=False)
    assert [event.step for event in closing] == list(steps_for(Security.NONE, sending=False)[1:])
    assert {event.state for event in closing} == {StepState.CANCELED}


def test_it_ends_a_connect() -> None:
    watcher = Watcher()
    with full_queue() as listener, session(listener.getsockname()[1], timeouts=PATIENT, observer=watcher) as client:
        canceled_while(client, watcher, Step.CONNECT, client.open)


def test_it_ends_the_wait_for_a_greeting() -> None:
    watcher = Watcher()
    with ScriptedServer(Peer.stall) as server, session(server.port, timeouts=PATIENT, observer=watcher) as client:
        canceled_while(client, watcher, Step.GREETING, client.open)


@pytest.mark.parametrize("security", ["none", "tls"])
def test_it_has_timed_out_when_it_is_ended_as_late(security: str) -> None:
    watcher = Watcher()

    def end() -> None:
        watcher.wait_until_running(Step.TLS if security == "tls" else Step.GREETING)
        client.abort(late=True)
        client.abort()

    with ScriptedServer(Peer.stall) as server:
        client = session(server.port, security=security, timeouts=PATIENT, observer=watcher)
        thread = threading.Thread(target=end)
        began = time.monotonic()
        thread.start()
        with client, pytest.raises(SmtpFailure) as caught:
            client.open()
        thread.join()
    assert time.monotonic() - began < 8  # seconds; otherwise it waits for ten
    assert caught.value.outcome.failure is FailureCode.TIMED_OUT


def test_it_ends_a_tls_handshake() -> None:
    watcher = Watcher()
    with (
        ScriptedServer(Peer.stall) as server,
        session(server.port, security="tls", timeouts=PATIENT, observer=watcher) as client,
    ):
        canceled_while(client, watcher, Step.TLS, client.open)


def test_it_ends_a_probe() -> None:
    watcher = Watcher()
    with (
        ScriptedServer(lambda peer: (peer.greet(), peer.stall())) as server,
        session(server.port, timeouts=PATIENT, observer=watcher) as client,
    ):
        client.open()
        canceled_while(client, watcher, Step.SENDER, lambda: client.probe(sender=SENDER, recipient=RECIPIENT))


def test_it_knows_what_an_abort_leaves_of_a_letter() -> None:
    read = threading.Event()

    def script(peer: Peer) -> None:
        peer.greet()
        peer.take_envelope()
        peer.hear_letter()
        read.set()
        peer.stall()

    with ScriptedServer(script) as server, session(server.port, timeouts=PATIENT) as client:
        client.open()
        thread = threading.Thread(target=lambda: (read.wait(5), client.abort()))
        thread.start()
        outcome = send(client)
        thread.join()
        assert (outcome.verdict, outcome.failure) == (Verdict.UNKNOWN, FailureCode.CANCELED)
        again = send(client)
        assert (again.verdict, again.failure) == (Verdict.NOT_SENT, FailureCode.CANCELED)


def test_it_opens_nothing_once_aborted() -> None:
    with ScriptedServer(Peer.stall) as server, session(server.port) as client:
        client.abort()
        with pytest.raises(SmtpFailure) as caught:
            client.open()
        assert caught.value.outcome.failure is FailureCode.CANCELED
        assert server.connections == 0
