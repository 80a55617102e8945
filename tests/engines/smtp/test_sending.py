"""Sending letters: what is known of each, whatever happens to the conversation."""

import pytest

from panel.smtp.mailing import LAST_CHUNK
from panel.smtp.outcome import About, FailureCode, Phase, SmtpFailure, Verdict
from panel.smtp.steps import Step
from tests.engines.smtp.kit import (
    PATIENT,
    RECIPIENT,
    SENDER,
    Watcher,
    send,
    session,
)
from tests.support.mailserver import MailServer, Peer, ScriptedServer


@pytest.mark.parametrize("security", ["none", "starttls", "tls"])
def test_it_sends_letters_one_after_the_other_over_one_connection(security: str) -> None:
    letters = [b"Subject: %d\r\n\r\n.\r\n..\r\nbody\r\n" % number for number in range(5)]
    with MailServer(security=security) as server:
        with session(server.port, security=security, timeouts=PATIENT) as client:
            client.open()
            outcomes = [send(client, letter, f"friend{number}@example.net") for number, letter in enumerate(letters)]
            client.quit()
        received = server.wait_for(5)
        assert server.connections == 1
    assert [letter.content for letter in received] == letters
    assert [letter.recipients for letter in received] == [(f"friend{number}@example.net",) for number in range(5)]
    assert {letter.sender for letter in received} == {SENDER}
    for outcome, letter in zip(outcomes, letters, strict=True):
        assert (outcome.verdict, outcome.failure, outcome.code) == (Verdict.ACCEPTED, None, 250)
        assert (outcome.enhanced, outcome.reply) == ("2.0.0", "250 2.0.0 OK accepted")
        assert outcome.bytes_sent >= len(letter)


def test_it_tells_the_steps_of_a_letter() -> None:
    watcher = Watcher()
    with MailServer() as server, session(server.port, observer=watcher) as client:
        client.open()
        send(client)
        client.quit()
    assert list(watcher.ended())[-4:] == ["sender", "recipient", "data", "quit"]
    assert watcher.of(Step.DATA).detail == "The server has accepted the letter."
    assert watcher.of(Step.DATA).reply == "250 2.0.0 OK accepted"


def test_it_sends_large_letters_whole() -> None:
    letter = b"".join(b"%07d .\r\n.\r\n" % number for number in range(40_000))
    assert len(letter) > 4 * LAST_CHUNK

    def script(peer: Peer) -> None:
        peer.greet()
        peer.take_envelope()
        taken.append(peer.hear_letter())
        peer.say("250 ok")
        peer.stall()

    taken: list[bytes] = []
    with ScriptedServer(script) as server, session(server.port, timeouts=PATIENT) as client:
        client.open()
        assert send(client, letter).accepted
    assert taken == [letter.replace(b"\r\n.", b"\r\n..")]


# ---- what the server says


ENVELOPE_REPLIES = [
    ("MAIL", "451 4.3.0 later", Verdict.TEMPORARY, About.SERVER, FailureCode.SERVER_BUSY),
    ("MAIL", "550 5.7.60 SendAsDenied", Verdict.PERMANENT, About.SENDER, FailureCode.SENDER_REFUSED),
    ("MAIL", "553 no such sender", Verdict.PERMANENT, About.SENDER, FailureCode.SENDER_REFUSED),
    ("MAIL", "454 Throttling failure: Daily message quota exceeded", Verdict.TEMPORARY, About.QUOTA, None),
    ("MAIL", "530 5.7.0 Authentication required", Verdict.PERMANENT, About.CREDENTIALS, FailureCode.AUTH_FAILED),
    ("MAIL", "530 5.7.0 Must issue a STARTTLS command first", Verdict.PERMANENT, About.SERVER, None),
    ("RCPT", "450 4.2.0 greylisted", Verdict.TEMPORARY, About.RECIPIENT, FailureCode.RECIPIENT_REFUSED),
    ("RCPT", "550 5.1.1 no such user", Verdict.PERMANENT, About.RECIPIENT, FailureCode.RECIPIENT_REFUSED),
    ("RCPT", "554 5.7.1 Relay access denied", Verdict.PERMANENT, About.SERVER, FailureCode.RECIPIENT_REFUSED),
    ("RCPT", "553 5.7.1 Sender address rejected: not owned by user x", Verdict.PERMANENT, About.SENDER, None),
    ("DATA", "554 5.7.1 looks like spam", Verdict.PERMANENT, About.MESSAGE, FailureCode.MESSAGE_REFUSED),
    ("DATA", "552 5.3.4 too big", Verdict.PERMANENT, About.MESSAGE, FailureCode.MESSAGE_REFUSED),
    ("DATA", "452 4.3.1 disk full", Verdict.TEMPORARY, About.SERVER, FailureCode.SERVER_BUSY),
    ("DATA", "550 5.4.5 Daily user sending limit exceeded", Verdict.TEMPORARY, About.QUOTA, FailureCode.SERVER_BUSY),
]


@pytest.mark.parametrize(("verb", "reply", "verdict", "about", "failure"), ENVELOPE_REPLIES)
def test_it_says_what_a_refusal_is_about_and_sends_the_next_letter(
    verb: str, reply: str, verdict: Verdict, about: About, failure: FailureCode | None
) -> None:
    refused: list[str] = []

    def answer(asked: str, _argument: str) -> str | None:
        if asked == verb and not refused:
            refused.append(asked)
            return reply
        return None

    with MailServer(answer=answer) as server, session(server.port, timeouts=PATIENT) as client:
        client.open()
        outcome = send(client)
        assert (outcome.verdict, outcome.about) == (verdict, about)
        assert outcome.failure is failure or failure is None
        assert outcome.reply == reply
        assert client.reusable
        assert send(client).accepted
        assert len(server.wait_for(1)) == 1
        assert server.connections == 1


@pytest.mark.parametrize("refused", ["MAIL", "RCPT", "DATA"])
def test_it_resets_before_the_next_letter_after_a_refusal(refused: str) -> None:
    def script(peer: Peer) -> None:
        peer.greet()
        for verb in ("MAIL", "RCPT", "DATA"):
            peer.hear(verb)
            peer.say("550 no" if verb == refused else "250 ok")
            if verb == refused:
                break
        peer.hear("RSET")
        peer.say("250 ok")
        peer.take_envelope()
        peer.hear_letter()
        peer.say("250 ok")
        peer.hear("MAIL")  # and no RSET where nothing was refused

    with ScriptedServer(script) as server, session(server.port) as client:
        client.open()
        assert send(client).verdict is Verdict.PERMANENT
        assert send(client).accepted
        send(client)


def test_it_gives_up_on_a_server_that_does_not_reset() -> None:
    def script(peer: Peer) -> None:
        peer.greet()
        peer.hear("MAIL")
        peer.say("550 no")
        peer.hear("RSET")
        peer.say("500 what?")
        peer.stall()

    with ScriptedServer(script) as server, session(server.port) as client:
        client.open()
        send(client)
        outcome = send(client)
        assert (outcome.verdict, outcome.failure) == (Verdict.NOT_SENT, FailureCode.PROTOCOL_ERROR)
        assert not client.reusable


@pytest.mark.parametrize("at", ["MAIL", "RCPT", "DATA", "."])
def test_it_takes_a_421_anywhere_for_the_end_of_the_connection(at: str) -> None:
    def script(peer: Peer) -> None:
        peer.greet()
        for verb, reply in (("MAIL", "250 ok"), ("RCPT", "250 ok"), ("DATA", "354 go")):
            peer.hear(verb)
            peer.say("421 4.3.2 shutting down" if verb == at else reply)
            if verb == at:
                return
        peer.hear_letter()
        peer.say("421 4.3.2 shutting down")

    with ScriptedServer(script) as server, session(server.port) as client:
        client.open()
        outcome = send(client)
        assert (outcome.verdict, outcome.about) == (Verdict.TEMPORARY, About.SERVER)
        assert outcome.failure is FailureCode.SERVER_BUSY
        assert not client.reusable
        assert send(client).verdict is Verdict.NOT_SENT


def test_it_notices_a_421_that_was_said_while_nobody_asked() -> None:
    def script(peer: Peer) -> None:
        peer.greet()
        peer.take_envelope()
        peer.hear_letter()
        peer.send(b"250 ok\r\n421 idle too long\r\n")

    with ScriptedServer(script) as server, session(server.port) as client:
        client.open()
        assert send(client).accepted
        outcome = send(client)
        assert (outcome.verdict, outcome.failure) == (Verdict.TEMPORARY, FailureCode.SERVER_BUSY)
        assert outcome.code == 421


def test_it_knows_nothing_was_sent_when_a_kept_connection_was_closed_meanwhile() -> None:
    def script(peer: Peer) -> None:
        peer.greet()
        peer.take_envelope()
        peer.hear_letter()
        peer.say("250 ok")

    with ScriptedServer(script) as server, session(server.port) as client:
        client.open()
        assert send(client).accepted
        server.finish()
        outcome = send(client)
        assert (outcome.verdict, outcome.bytes_sent, outcome.stale) == (Verdict.NOT_SENT, 0, True)


# ---- before the body


def test_it_calls_before_body_after_the_354_and_before_the_first_byte() -> None:
    order: list[str] = []

    def script(peer: Peer) -> None:
        peer.greet()
        peer.hear("MAIL")
        peer.say("250 ok")
        peer.hear("RCPT")
        peer.say("250 ok")
        peer.hear("DATA")
        order.append("asked for the letter")
        peer.say("354 go")
        peer.hear_letter()
        order.append("letter read")
        peer.say("250 ok")
        peer.stall()

    def before_body() -> None:
        assert client.phase is Phase.DATA
        order.append("before_body")

    with ScriptedServer(script) as server, session(server.port) as client:
        client.open()
        assert send(client, before_body=before_body).accepted
    assert order == ["asked for the letter", "before_body", "letter read"]


def test_it_closes_without_a_final_dot_when_before_body_fails() -> None:
    class DatabaseIsGone(Exception):
        pass

    def script(peer: Peer) -> None:
        peer.greet()
        peer.take_envelope()
        taken.append(peer.sock.recv(1000))

    def fail() -> None:
        raise DatabaseIsGone

    taken: list[bytes] = []
    with ScriptedServer(script) as server, session(server.port) as client:
        client.open()
        with pytest.raises(DatabaseIsGone):
            send(client, before_body=fail)
        assert not client.reusable
        server.finish()
    assert taken == [b""]


def test_it_says_nothing_when_the_letter_cannot_be_made_and_stays_usable() -> None:
    def fail(_eightbit: bool) -> bytes:
        raise KeyError("a template is missing")

    with MailServer() as server, session(server.port) as client:
        client.open()
        with pytest.raises(KeyError):
            client.send(sender=SENDER, recipient=RECIPIENT, letter=fail, before_body=lambda: None)
        assert send(client).accepted
        assert len(server.wait_for(1)) == 1


# ---- probing


@pytest.mark.parametrize(
    ("refused", "reply", "failure"),
    [
        ("MAIL", "553 not yours", FailureCode.SENDER_REFUSED),
        ("RCPT", "550 5.1.1 unknown", FailureCode.RECIPIENT_REFUSED),
        ("RCPT", "450 4.2.0 later", FailureCode.RECIPIENT_REFUSED),
    ],
)
def test_it_says_which_address_a_probe_was_refused_for(refused: str, reply: str, failure: FailureCode) -> None:
    watcher = Watcher()
    with (
        MailServer(answer=lambda verb, _argument: reply if verb == refused else None) as server,
        session(server.port, observer=watcher) as client,
    ):
        client.open()
        with pytest.raises(SmtpFailure) as caught:
            client.probe(sender=SENDER, recipient=RECIPIENT)
        client.quit()
    assert caught.value.outcome.failure is failure
    step = watcher.of(Step.SENDER if refused == "MAIL" else Step.RECIPIENT)
    assert (step.state, step.code, step.reply) == ("failed", failure, reply)


def test_it_probes_without_data_and_resets() -> None:
    def script(peer: Peer) -> None:
        peer.greet("SIZE 100")
        for verb in ("MAIL FROM:<owner@example.org>", "RCPT TO:<friend@example.net>", "RSET", "QUIT"):
            peer.hear(verb)
            peer.say("250 ok")

    with ScriptedServer(script) as server, session(server.port) as client:
        client.open()
        client.probe(sender=SENDER, recipient=RECIPIENT)
        client.quit()
        server.finish()
        assert len(server.heard) == 5


def test_it_counts_a_probe_whose_reset_fails_as_passed() -> None:
    def script(peer: Peer) -> None:
        peer.greet()
        peer.hear("MAIL")
        peer.say("250 ok")
        peer.hear("RCPT")
        peer.say("250 ok")

    with ScriptedServer(script) as server, session(server.port) as client:
        client.open()
        client.probe(sender=SENDER, recipient=RECIPIENT)
        assert not client.reusable
