"""Sending letters: what is known of each, whatever happens to the conversation."""

import pytest

from panel.smtp.outcome import About, FailureCode, Phase, SmtpFailure, Verdict
from panel.smtp.session import LAST_CHUNK, Submission
from panel.smtp.steps import Step
from tests.engines.smtp.kit import (
    LETTER,
    PASSWORD,
    PATIENT,
    RECIPIENT,
    SENDER,
    USERNAME,
    Watcher,
    send,
    session,
    short,
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
    assert watcher.of(Step.DATA).detail == "Accepted by your server."
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
        assert (outcome.verdict, outcome.bytes_sent) == (Verdict.NOT_SENT, 0)


# ---- where it breaks


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
    assert outcome.bytes_sent == 0


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
        assert not peer.stopped.wait(1.2)
        peer.say("250 ok")
        peer.stall()

    with ScriptedServer(script) as server, session(server.port, timeouts=short(reply=1)) as client:
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


# ---- extensions


def test_it_uses_8bitmime_only_where_offered() -> None:
    offered: list[bool] = []

    def letter(eightbit: bool) -> bytes:
        offered.append(eightbit)
        return "Grüße\r\n".encode() if eightbit else b"Gr=C3=BC=C3=9Fe\r\n"

    def script(peer: Peer) -> None:
        peer.greet(*(["8BITMIME"] if len(offered) == 0 else []))
        peer.take_envelope()
        peer.hear_letter()
        peer.say("250 ok")
        peer.stall()

    with ScriptedServer(script) as server:
        for _ in range(2):
            with session(server.port) as client:
                client.open()
                outcome = client.send(sender=SENDER, recipient=RECIPIENT, letter=letter, before_body=lambda: None)
                assert outcome.accepted
        mails = [line for line in server.heard if line.startswith(b"MAIL")]
    assert offered == [True, False]
    assert mails == [b"MAIL FROM:<owner@example.org> BODY=8BITMIME", b"MAIL FROM:<owner@example.org>"]


def test_it_refuses_to_send_8_bits_where_only_7_go() -> None:
    with ScriptedServer(lambda peer: (peer.greet(), peer.stall())) as server, session(server.port) as client:
        client.open()
        with pytest.raises(ValueError, match="8BITMIME"):
            send(client, "Grüße\r\n".encode())


def test_it_declares_the_size_and_does_not_offer_what_is_too_large() -> None:
    def script(peer: Peer) -> None:
        peer.greet("SIZE 1000")
        peer.hear("MAIL FROM:<owner@example.org> SIZE=1000")

    with ScriptedServer(script) as server, session(server.port) as client:
        client.open()
        outcome = send(client, b"x" * 1001)
        assert (outcome.verdict, outcome.about) == (Verdict.PERMANENT, About.MESSAGE)
        assert outcome.failure is FailureCode.MESSAGE_REFUSED
        assert client.reusable
        send(client, b"x" * 1000)


def test_it_uses_smtputf8_only_for_addresses_that_need_it() -> None:
    with MailServer() as server, session(server.port) as client:
        client.open()
        assert send(client, recipient="jürgen@bücher.example").accepted
        assert send(client, recipient="juergen@bücher.example").accepted
        first, second = server.wait_for(2)
    assert first.recipients == ("jürgen@xn--bcher-kva.example",)
    assert second.recipients == ("juergen@xn--bcher-kva.example",)


def test_it_says_so_when_an_address_needs_smtputf8_and_there_is_none() -> None:
    def script(peer: Peer) -> None:
        peer.greet("8BITMIME")
        peer.hear("MAIL")
        peer.say("250 ok")
        peer.stall()

    with ScriptedServer(script) as server, session(server.port) as client:
        client.open()
        outcome = send(client, recipient="jürgen@example.net")
        assert (outcome.verdict, outcome.about) == (Verdict.PERMANENT, About.RECIPIENT)
        assert outcome.failure is FailureCode.RECIPIENT_REFUSED
        assert server.heard == [b"EHLO client.example"]
        assert client.reusable


@pytest.mark.parametrize(
    "address",
    [
        "a\r\nRCPT TO:<x@y.z>@b.c",
        "a@b.c\r\nDATA",
        "a\n@b.c",
        "a\0@b.c",
        "a@b.c>",
        "<a@b.c",
        "a b@c.d",
        "a@b c",
        "a",
        "",
    ],
)
def test_it_never_says_an_address_that_could_end_the_command(address: str) -> None:
    with ScriptedServer(lambda peer: (peer.greet(), peer.stall())) as server, session(server.port) as client:
        client.open()
        for options, about in (({"recipient": address}, About.RECIPIENT), ({"sender": address}, About.SENDER)):
            outcome = send(client, **options)
            assert (outcome.verdict, outcome.about) == (Verdict.PERMANENT, about)
        assert server.heard == [b"EHLO client.example"]


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


# ---- several letters


def test_it_sends_all_of_several_letters_each_recorded_before_the_next_begins() -> None:
    order: list[str] = []

    def submission(number: int) -> Submission:
        return Submission(
            sender=SENDER,
            recipient=f"friend{number}@example.net",
            letter=lambda _eightbit: LETTER,
            before_body=lambda: order.append(f"begin {number}"),
        )

    with (
        MailServer(security="tls", username=USERNAME, password=PASSWORD) as server,
        session(server.port, security="tls", username=USERNAME, password=PASSWORD) as client,
    ):
        client.open()
        for number, outcome in enumerate(client.send_all(submission(number) for number in range(3))):
            assert outcome.accepted
            order.append(f"record {number}")
        assert len(server.wait_for(3)) == 3
    assert order == [f"{what} {number}" for number in range(3) for what in ("begin", "record")]


def test_it_stops_asking_for_letters_when_the_connection_is_of_no_more_use() -> None:
    def script(peer: Peer) -> None:
        peer.greet()
        peer.take_envelope()
        peer.hear_letter()
        peer.say("421 enough for today")

    asked: list[int] = []

    def submissions():
        for number in range(3):
            asked.append(number)
            yield Submission(
                sender=SENDER, recipient=RECIPIENT, letter=lambda _eightbit: LETTER, before_body=lambda: None
            )

    with ScriptedServer(script) as server, session(server.port) as client:
        client.open()
        outcomes = list(client.send_all(submissions()))
    assert [outcome.verdict for outcome in outcomes] == [Verdict.TEMPORARY]
    assert asked == [0]
