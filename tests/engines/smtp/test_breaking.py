"""Where a conversation breaks: what is known of the letter, and that it is never claimed to be more."""

import pytest

from panel.smtp.outcome import About, FailureCode, Phase, Verdict
from tests.engines.smtp.kit import (
    PATIENT,
    Watcher,
    send,
    session,
    short,
)
from tests.support.mailserver import Peer, ScriptedServer


def test_it_says_not_sent_when_it_breaks_before_the_final_dot() -> None:
    for replies in ([], ["250 ok"], ["250 ok", "250 ok"]):

        def script(peer: Peer, replies: list[str] = replies) -> None:
            peer.greet()
            for reply in replies:
                peer.hear()
                peer.say(reply)
            peer.hear()

        with ScriptedServer(script) as server, session(server.port) as client:
            client.open()
            outcome = send(client)
        assert (outcome.verdict, outcome.about) == (Verdict.NOT_SENT, About.SERVER)
        assert outcome.phase is (Phase.MAIL, Phase.RCPT, Phase.DATA)[len(replies)]


def test_it_says_not_sent_when_it_breaks_within_the_body() -> None:
    def script(peer: Peer) -> None:
        peer.greet()
        peer.take_envelope()
        peer.read_some(1000)
        peer.reset()

    with ScriptedServer(script) as server, session(server.port, timeouts=PATIENT) as client:
        client.open()
        outcome = send(client, b"x" * 70 + b"\r\n" + b"y" * 30_000_000)
    assert (outcome.verdict, outcome.phase) == (Verdict.NOT_SENT, Phase.BODY)
    assert 0 < outcome.bytes_sent < 30_000_000


def test_it_says_not_sent_when_the_server_takes_no_more_of_the_body() -> None:
    def script(peer: Peer) -> None:
        peer.greet()
        peer.take_envelope()
        peer.stopped.wait(10)

    with ScriptedServer(script) as server, session(server.port, timeouts=short(body=0.5)) as client:
        client.open()
        outcome = send(client, b"y" * 30_000_000)
    assert (outcome.verdict, outcome.failure) == (Verdict.NOT_SENT, FailureCode.TIMED_OUT)


@pytest.mark.parametrize(
    ("reply", "failure"),
    [
        (None, FailureCode.PROTOCOL_ERROR),
        (b"25", FailureCode.PROTOCOL_ERROR),
        (b"2500 ok\r\n", FailureCode.PROTOCOL_ERROR),
        (b"abc ok\r\n", FailureCode.PROTOCOL_ERROR),
        (b"199 ok\r\n", FailureCode.PROTOCOL_ERROR),
        (b"354 more\r\n", FailureCode.PROTOCOL_ERROR),
        (b"250-ok\r\n550 no\r\n", FailureCode.PROTOCOL_ERROR),
    ],
)
def test_it_does_not_know_when_no_valid_reply_follows_the_final_dot(reply: bytes | None, failure: FailureCode) -> None:
    def script(peer: Peer) -> None:
        peer.greet()
        peer.take_envelope()
        peer.hear_letter()
        if reply:
            peer.send(reply)

    watcher = Watcher()
    with ScriptedServer(script) as server, session(server.port, observer=watcher) as client:
        client.open()
        outcome = send(client)
        assert not client.reusable
    assert (outcome.verdict, outcome.phase, outcome.failure) == (Verdict.UNKNOWN, Phase.FINAL_DOT, failure)
    assert outcome.bytes_sent > 0
    assert watcher.ended()["data"] == "failed"


def test_it_does_not_know_when_the_reply_comes_too_late() -> None:
    def script(peer: Peer) -> None:
        peer.greet()
        peer.take_envelope()
        peer.hear_letter()
        peer.drip(b"250 " + b"x" * 2000, 0.02)

    with ScriptedServer(script) as server, session(server.port, timeouts=short(final_dot=0.3)) as client:
        client.open()
        outcome = send(client)
    assert (outcome.verdict, outcome.failure) == (Verdict.UNKNOWN, FailureCode.TIMED_OUT)


def test_it_waits_longer_for_the_final_dot_than_for_other_replies() -> None:
    def script(peer: Peer) -> None:
        peer.greet()
        peer.take_envelope()
        peer.hear_letter()
        assert not peer.stopped.wait(2.3)
        peer.say("250 ok")
        peer.stall()

    with ScriptedServer(script) as server, session(server.port, timeouts=short(reply=2)) as client:
        client.open()
        assert send(client).accepted


def test_it_is_accepted_though_quit_is_answered_with_a_421() -> None:
    def script(peer: Peer) -> None:
        peer.greet()
        peer.take_envelope()
        peer.hear_letter()
        peer.say("250 ok")
        peer.hear("QUIT")
        peer.say("421 closing")

    with ScriptedServer(script) as server, session(server.port) as client:
        client.open()
        outcome = send(client)
        client.quit()
    assert outcome.accepted


def test_it_does_not_take_a_reply_sent_ahead_for_that_to_the_final_dot() -> None:
    def script(peer: Peer) -> None:
        peer.greet()
        peer.hear("MAIL")
        peer.say("250 ok")
        peer.hear("RCPT")
        peer.say("250 ok")
        peer.hear("DATA")
        peer.send(b"354 go\r\n250 accepted already\r\n")
        peer.stall()

    called: list[str] = []
    with ScriptedServer(script) as server, session(server.port) as client:
        client.open()
        outcome = send(client, before_body=lambda: called.append("called"))
    assert (outcome.verdict, outcome.failure) == (Verdict.NOT_SENT, FailureCode.PROTOCOL_ERROR)
    assert called == []


@pytest.mark.parametrize("reply", ["250 ok", "354 go", "200 hm"])
def test_it_takes_only_a_354_for_the_word_to_send(reply: str) -> None:
    def script(peer: Peer) -> None:
        peer.greet()
        for answer in ("250 ok", "250 ok", reply):
            peer.hear()
            peer.say(answer)
        if reply.startswith("354"):
            peer.hear_letter()
            peer.say("250 ok")
        peer.stall()

    with ScriptedServer(script) as server, session(server.port) as client:
        client.open()
        outcome = send(client)
    assert outcome.accepted is reply.startswith("354")
    assert outcome.verdict in (Verdict.ACCEPTED, Verdict.NOT_SENT)
