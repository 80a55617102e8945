"""Opening a session, with servers that behave and servers that do not."""

import socket
import time
import tracemalloc
from datetime import UTC, datetime

import pytest

from panel.smtp.destination import VettedAddress
from panel.smtp.outcome import About, FailureCode, Phase, SmtpFailure, Verdict
from panel.smtp.reply import MAX_SHOWN
from panel.smtp.settings import Security
from panel.smtp.steps import Step, StepState, steps_for
from panel.smtp.timeouts import Timeouts
from panel.smtp.transport import Transport
from panel.smtp.trouble import Broken
from tests.engines.smtp.kit import (
    PASSWORD,
    PATIENT,
    RECIPIENT,
    SENDER,
    USERNAME,
    Watcher,
    code_of_opening,
    failure_of_opening,
    full_queue,
    session,
    short,
)
from tests.support.mailserver import MailServer, Peer, ScriptedServer


@pytest.mark.parametrize("security", ["none", "starttls", "tls"])
def test_it_opens_probes_and_quits_step_by_step(security: str) -> None:
    watcher = Watcher()
    with MailServer(security=security, username=USERNAME, password=PASSWORD) as server:
        cleartext = security == "none"
        with session(
            server.port,
            security=security,
            username=USERNAME,
            password=PASSWORD,
            cleartext=cleartext,
            timeouts=PATIENT,
            observer=watcher,
        ) as client:
            client.open()
            assert client.reusable
            client.probe(sender=SENDER, recipient=RECIPIENT)
            client.quit()
            assert not client.reusable
        assert server.messages == []
        assert server.connections == 1
        assert server.sign_ins == 1
    ended = watcher.ended()
    assert tuple(ended) == steps_for(Security(security), sending=False)
    assert ended == {step: StepState.SKIPPED if step == "tls" and cleartext else StepState.OK for step in ended}
    if not cleartext:
        assert watcher.of(Step.TLS).detail == "TLS 1.3, certificate valid until 1 Jan 3000"
        assert client.tls_summary is not None
        assert client.tls_summary.certificate_expires > datetime.now(UTC)
    assert PASSWORD not in watcher.text


def test_it_verifies_the_certificate_for_an_ip_address() -> None:
    with MailServer(security="tls") as server, session(server.port, host="127.0.0.1", security="tls") as client:
        client.open()
        assert client.reusable


def greeting(octets: bytes):
    """A server that says only this and then waits."""

    def script(peer: Peer) -> None:
        peer.send(octets)
        peer.stall()

    return script


@pytest.mark.parametrize(
    ("octets", "code"),
    [
        (b"HTTP/1.1 400 Bad Request\r\nServer: secret-name\r\n\r\n", FailureCode.NOT_SMTP),
        (b"-ERR unknown command secret-name\r\n", FailureCode.NOT_SMTP),
        (b"SSH-2.0-OpenSSH_secret-name", FailureCode.NOT_SMTP),
        (b"* OK secret-name IMAP ready\r\n", FailureCode.NOT_SMTP),
        (b"abc secret-name\r\n", FailureCode.NOT_SMTP),
        (b"199 secret-name\r\n", FailureCode.NOT_SMTP),
        (b"2500 secret-name\r\n", FailureCode.NOT_SMTP),
        (b"\x00\x00\x00\x18\x04 secret-name", FailureCode.NOT_SMTP),
        (b"220-one\r\nsecret-name\r\n", FailureCode.PROTOCOL_ERROR),
        (b"220-one\r\n221 secret-name\r\n", FailureCode.PROTOCOL_ERROR),
        (b"354 go on\r\n", FailureCode.PROTOCOL_ERROR),
        (b"250 ok\r\n", FailureCode.PROTOCOL_ERROR),
        (b"220 " + b"x" * 9000 + b"\r\n", FailureCode.PROTOCOL_ERROR),
        (b"220 " + b"x" * 9000, FailureCode.PROTOCOL_ERROR),
        (b"", FailureCode.TIMED_OUT),
        (b"220 almost", FailureCode.TIMED_OUT),
    ],
)
def test_it_names_what_is_wrong_with_a_greeting_and_shows_none_of_it(octets: bytes, code: FailureCode) -> None:
    watcher = Watcher()
    patience = 0.5 if code is FailureCode.TIMED_OUT else 5
    with ScriptedServer(greeting(octets)) as server:
        outcome = failure_of_opening(server.port, observer=watcher, timeouts=short(greeting=patience, tls=0.3))
    assert outcome.failure is code
    assert outcome.reply is None
    assert "secret-name" not in repr(outcome) + watcher.text
    assert watcher.ended()["greeting"] == "failed"


@pytest.mark.parametrize(
    ("line", "verdict"),
    [("421 come back later", Verdict.TEMPORARY), ("450 busy", Verdict.TEMPORARY), ("554 go away", Verdict.PERMANENT)],
)
def test_it_takes_a_greeting_that_says_no_for_a_busy_server(line: str, verdict: Verdict) -> None:
    with ScriptedServer(lambda peer: peer.say(line)) as server:
        outcome = failure_of_opening(server.port)
    assert (outcome.failure, outcome.verdict, outcome.about) == (FailureCode.SERVER_BUSY, verdict, About.SERVER)
    assert outcome.reply == line


def test_it_does_not_let_a_dripping_greeting_stretch_the_time() -> None:
    with ScriptedServer(lambda peer: peer.drip(b"220 " + b"x" * 2000, 0.02)) as server:
        began = time.monotonic()
        assert code_of_opening(server.port, timeouts=short(greeting=0.3)) is FailureCode.TIMED_OUT
        assert time.monotonic() - began < 5


def test_it_bounds_opening_as_a_whole_however_many_replies_are_slow() -> None:
    def slow(peer: Peer) -> None:
        peer.drip(b"220 ready\r\n", 0.02)
        peer.hear("EHLO")
        peer.drip(b"250-x\r\n" * 500, 0.02)

    with ScriptedServer(slow) as server:
        began = time.monotonic()
        assert code_of_opening(server.port, timeouts=short(open=0.6)) is FailureCode.TIMED_OUT
        assert 0.5 < time.monotonic() - began < 5


def test_it_bounds_a_test_as_a_whole_probe_included() -> None:
    def slow(peer: Peer) -> None:
        peer.greet()
        peer.hear("MAIL")
        peer.stall()

    with (
        ScriptedServer(slow) as server,
        session(server.port, timeouts=short(session=1.5)) as client,
    ):
        began = time.monotonic()
        client.open()
        with pytest.raises(SmtpFailure) as caught:
            client.probe(sender=SENDER, recipient=RECIPIENT)
        assert caught.value.outcome.failure is FailureCode.TIMED_OUT
        assert time.monotonic() - began < 5


def test_it_is_over_within_20_seconds_in_a_test() -> None:
    timeouts = Timeouts.for_test()
    assert timeouts.session is not None
    assert timeouts.session + timeouts.quit < 20


@pytest.mark.parametrize("piece", [b"220-hello\r\n", b"220-" + b"x" * 4000 + b"\r\n", b"\n", b"220\n", b"x"])
def test_it_reads_little_of_a_reply_of_40_megabytes(piece: bytes) -> None:
    with ScriptedServer(lambda peer: peer.flood(piece, 40_000_000)) as server:
        tracemalloc.start()
        try:
            code = code_of_opening(server.port, timeouts=PATIENT)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert code in (FailureCode.PROTOCOL_ERROR, FailureCode.NOT_SMTP)
    assert peak < 2_000_000


def test_it_says_when_the_server_hangs_up() -> None:
    with ScriptedServer(lambda peer: None) as server:
        outcome = failure_of_opening(server.port)
    assert (outcome.failure, outcome.verdict) == (FailureCode.PROTOCOL_ERROR, Verdict.TEMPORARY)


def test_it_says_when_the_connection_is_cut_off() -> None:
    def script(peer: Peer) -> None:
        peer.say("220 hi")
        peer.hear("EHLO")
        peer.reset()

    with ScriptedServer(script) as server:
        outcome = failure_of_opening(server.port)
    assert (outcome.failure, outcome.phase) == (FailureCode.PROTOCOL_ERROR, Phase.HELLO)


def test_it_tells_a_closed_port_from_a_filtered_one() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    assert code_of_opening(port) is FailureCode.CONNECT_FAILED
    with full_queue() as listener:
        outcome = failure_of_opening(listener.getsockname()[1], timeouts=short(connect=0.3))
    assert (outcome.failure, outcome.phase) == (FailureCode.CONNECT_TIMEOUT, Phase.CONNECT)


# ---- EHLO


def test_it_cleans_what_a_server_offers_before_it_shows_it() -> None:
    def script(peer: Peer) -> None:
        peer.greet("AUTH \x1b[31mRED\x00 " + "Y" * 3000, "AUTH=" + "Z" * 3000)
        peer.stall()

    watcher = Watcher()
    with ScriptedServer(script) as server, session(server.port, observer=watcher) as client:
        client.open()
    shown = watcher.of(Step.HELLO).detail
    assert "RED" in shown
    assert shown.isprintable()
    assert len(shown) <= MAX_SHOWN


def test_it_falls_back_to_helo_where_nothing_of_ehlo_is_needed() -> None:
    def old(peer: Peer) -> None:
        peer.say("220 old")
        peer.hear("EHLO")
        peer.say("502 what?")
        peer.hear("HELO client.example")
        peer.say("250 hello")
        peer.hear("MAIL FROM:<owner@example.org>")
        peer.say("250 ok")
        peer.stall()

    with ScriptedServer(old) as server, session(server.port) as client:
        client.open()
        assert client.reusable
        assert not client.features.eightbitmime


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"security": "starttls"}, FailureCode.TLS_UNAVAILABLE),
        ({"username": USERNAME, "password": PASSWORD, "cleartext": True}, FailureCode.PROTOCOL_ERROR),
    ],
)
def test_it_does_not_fall_back_to_helo_where_tls_or_auth_is_needed(
    options: dict[str, object], code: FailureCode
) -> None:
    def old(peer: Peer) -> None:
        peer.say("220 old")
        peer.hear("EHLO")
        peer.say("502 what?")
        peer.hear("QUIT")

    with ScriptedServer(old) as server:
        assert code_of_opening(server.port, **options) is code
    assert b"HELO client.example" not in server.heard


def test_it_reports_a_refused_ehlo_with_the_servers_words() -> None:
    def script(peer: Peer) -> None:
        peer.say("220 hi")
        peer.hear("EHLO")
        peer.say("550 5.7.1 <script>alert(1)</script> \x1b[31mgo\x1b[0m away")

    with ScriptedServer(script) as server:
        outcome = failure_of_opening(server.port)
    assert outcome.failure is FailureCode.PROTOCOL_ERROR
    assert outcome.reply == "550 5.7.1 <script>alert(1)</script> go away"
    assert outcome.enhanced == "5.7.1"


def test_it_refuses_an_ehlo_name_that_could_end_the_command() -> None:
    for name in ("", "a b", "a\r\nMAIL", "-x", "[127.0.0.1"):
        with pytest.raises(ValueError, match="EHLO name"):
            session(25, ehlo_name=name)


# ---- goodbye


@pytest.mark.parametrize("reply", ["221 bye", "421 closing", "500 what?", "nonsense", None])
def test_it_quits_quietly_whatever_the_server_makes_of_it(reply: str | None) -> None:
    def script(peer: Peer) -> None:
        peer.greet()
        peer.hear("QUIT")
        if reply:
            peer.say(reply)
        peer.stall()

    watcher = Watcher()
    with ScriptedServer(script) as server, session(server.port, observer=watcher, timeouts=short(quit=0.3)) as client:
        client.open()
        client.quit()
        assert client.phase is Phase.CLOSED
    assert watcher.ended()["quit"] == "ok"


def test_it_can_say_goodbye_after_a_refusal() -> None:
    with MailServer(security="starttls", username=USERNAME, password=PASSWORD) as server:
        watcher = Watcher()
        with session(server.port, security="starttls", username=USERNAME, password="wrong", observer=watcher) as client:
            with pytest.raises(SmtpFailure):
                client.open()
            client.quit()
    assert watcher.ended()["auth"] == "failed"
    assert watcher.of(Step.QUIT).detail == "The server said goodbye."


def test_it_goes_on_when_the_observer_fails() -> None:
    def broken(_event: object) -> None:
        raise RuntimeError("the page is gone")

    with MailServer() as server, session(server.port, observer=broken) as client:
        client.open()
        assert client.reusable


def test_an_address_that_cannot_be_dialled_from_here_is_a_failure_like_others_and_the_next_one_is_dialled() -> None:
    nowhere = VettedAddress(socket.AF_APPLETALK, ("127.0.0.1", 25))
    transport = Transport()
    soon = time.monotonic() + 5
    with pytest.raises(Broken) as caught:
        transport.connect([nowhere], deadline=soon, each=1)
    assert caught.value.failure is FailureCode.CONNECT_FAILED
    with socket.create_server(("127.0.0.1", 0)) as listener:
        there = VettedAddress(socket.AF_INET, listener.getsockname())
        assert transport.connect([nowhere, there], deadline=soon, each=1) is there
        transport.close()
