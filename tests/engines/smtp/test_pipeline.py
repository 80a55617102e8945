"""Pipelining: one round trip a letter, nothing asked for before its time, and a journal that is always ahead."""

from dataclasses import replace

import pytest

from panel.smtp.outcome import Phase, Verdict
from panel.smtp.wire import WireLetter, terminated
from tests.engines.smtp.kit import PASSWORD, USERNAME, Watcher, session, short
from tests.engines.smtp.pipelining import OFFERED, Book, Planned, letter, submission
from tests.support.mailserver import MailServer, Peer, ScriptedServer


def test_it_sends_the_commands_of_the_next_letter_with_the_body_of_the_one_before() -> None:
    """The server says nothing of a letter until it has all commands of the next: whoever waited would wait for ever."""

    def script(peer: Peer) -> None:
        peer.greet("PIPELINING")
        for verb in ("MAIL", "RCPT", "DATA"):
            peer.hear(verb)
        peer.say("250 ok", "250 ok", "354 go")
        for number in (1, 2, 3):
            assert peer.hear_letter().startswith(b"Subject: %d" % number)
            if number < 3:
                for verb in (f"MAIL FROM:<n{number + 1}@", "RCPT", "DATA"):
                    peer.hear(verb)
                peer.say("250 accepted", "250 ok", "250 ok", "354 go")
        peer.say("250 accepted")
        peer.hear("QUIT")
        peer.say("221 bye")

    book = Book()
    with ScriptedServer(script) as server, session(server.port) as client:
        client.open()
        outcomes = book.send_all(client, 1, 2, 3)
        assert client.reusable
        client.quit()
        server.finish()
    assert [outcome.verdict for outcome in outcomes] == [Verdict.ACCEPTED] * 3
    assert [outcome.reply for outcome in outcomes] == ["250 accepted"] * 3
    assert [outcome.bytes_sent for outcome in outcomes] == [len(terminated(letter(number))) for number in (1, 2, 3)]


def test_it_takes_each_letter_in_its_time_and_tells_the_journal_before_octets_leave() -> None:
    book = Book()

    def before_354(number: int) -> None:
        assert book.pulled == list(range(1, number + 1)), "the next letter was taken before its time"
        book.events.append(f"354 {number}")

    planned = Planned(before_354=before_354)
    with ScriptedServer(planned) as server, session(server.port) as client:
        client.open()
        book.send_all(client, 1, 2, 3)
    without_354 = [event for event in book.events if not event.startswith("354")]
    assert without_354 == [
        "pull 1", "envelope 1",
        "pull 2", "body 1 with 2", "accepted",
        "pull 3", "body 2 with 3", "accepted",
        "body 3", "accepted",
    ]  # fmt: skip
    assert planned.accepted == [1, 2, 3]
    for number in (1, 2):
        assert book.events.index(f"354 {number}") < book.events.index(f"pull {number + 1}")
        assert book.events.index(f"body {number} with {number + 1}") < book.events.index(f"354 {number + 1}")


def test_no_octet_of_a_body_leaves_before_the_journal_has_it() -> None:
    def script(peer: Peer) -> None:
        peer.greet("PIPELINING")
        for verb in ("MAIL", "RCPT", "DATA"):
            peer.hear(verb)
        peer.say("250 ok", "250 ok", "354 go")
        assert peer.sock.recv(1)  # only when something has left
        told.append("body seen")
        peer.stall()

    told: list[str] = []
    book = Book(on_body=lambda number: told.append(f"journal {number}, {client.phase}"))
    with ScriptedServer(script) as server, session(server.port, timeouts=short(final_dot=0.3)) as client:
        client.open()
        book.send_all(client, 1, 2)
    assert told == [f"journal 1, {Phase.DATA}", "body seen"]


def test_it_starts_again_for_letters_that_come_later() -> None:
    planned, book = Planned(), Book()
    with ScriptedServer(planned) as server, session(server.port) as client:
        client.open()
        book.send_all(client, 1, 2)
        book.send_all(client)
        book.send_all(client, 3)
        assert client.reusable
    assert planned.accepted == [1, 2, 3]
    assert book.events[-4:] == ["pull 3", "envelope 3", "body 3", "accepted"]
    assert server.connections == 1


def test_without_riding_it_pipelines_the_commands_alone() -> None:
    planned, book = Planned(at_once=True), Book()

    def heard_all(_number: int) -> None:
        assert server.heard[-3].startswith(b"MAIL"), "the commands came in one write, and with no body in front"

    planned.before_354 = heard_all
    with ScriptedServer(planned) as server, session(server.port, ride=False) as client:
        client.open()
        book.send_all(client, 1, 2)
    assert book.events == [
        "pull 1", "envelope 1", "body 1", "accepted", "pull 2", "envelope 2", "body 2", "accepted",
    ]  # fmt: skip
    assert planned.accepted == [1, 2]


def test_without_pipelining_it_goes_step_by_step_and_tells_the_journal_the_same() -> None:
    def script(peer: Peer) -> None:
        peer.greet("8BITMIME")
        for number in (1, 2):
            for verb, reply in (("MAIL", "250 ok"), ("RCPT", "250 ok"), ("DATA", "354 go")):
                peer.hear(verb)
                assert peer.unheard == b"", "a command was said before the one before it was answered"
                peer.say(reply)
            assert peer.hear_letter().startswith(b"Subject: %d" % number)
            assert peer.unheard == b""
            peer.say("250 ok")
        peer.stall()

    book = Book()
    with ScriptedServer(script) as server, session(server.port) as client:
        client.open()
        outcomes = book.send_all(client, 1, 2)
        assert client.reusable
    assert all(outcome.accepted for outcome in outcomes)
    assert book.events == [
        "pull 1", "envelope 1", "body 1", "accepted", "pull 2", "envelope 2", "body 2", "accepted",
    ]  # fmt: skip


def test_it_goes_step_by_step_for_somebody_who_watches() -> None:
    watcher, book, planned = Watcher(), Book(), Planned()
    with ScriptedServer(planned) as server, session(server.port, observer=watcher) as client:
        client.open()
        book.send_all(client, 1)
    assert list(watcher.ended())[-3:] == ["sender", "recipient", "data"]
    assert planned.accepted == [1]


@pytest.mark.parametrize("security", ["none", "starttls", "tls"])
def test_it_serves_a_server_that_signs_in_and_encrypts(security: str) -> None:
    """aiosmtpd does not offer PIPELINING, so this is the way without, with everything else around it."""
    credentials = {} if security == "none" else {"username": USERNAME, "password": PASSWORD}
    book = Book()
    with (
        MailServer(security=security, **credentials) as server,
        session(server.port, security=security, **credentials) as client,
    ):
        client.open()
        outcomes = book.send_all(client, *range(5))
        assert len(server.wait_for(5)) == 5
    assert all(outcome.accepted for outcome in outcomes)


# ---- letters that come ready


def test_it_sends_a_ready_letter_as_it_is() -> None:
    planned = Planned()
    ready = WireLetter(b"Subject: 1\r\n\r\n..a dot\r\n.\r\n", ascii=True)
    with ScriptedServer(planned) as server, session(server.port) as client:
        client.open()
        outcomes = Book().note(client.send_all([submission(1, lambda _eightbit: ready)], Book()))
        assert client.send(
            sender="n2@example.org", recipient="friend2@example.net",
            letter=lambda _eightbit: WireLetter(b"Subject: 2\r\n\r\n\xc3\xa9\r\n.\r\n", ascii=False),
            before_body=lambda: None,
        ).accepted  # fmt: skip
    assert outcomes[0].accepted
    assert planned.taken == [b"Subject: 1\r\n\r\n..a dot\r\n", b"Subject: 2\r\n\r\n\xc3\xa9\r\n"]
    mails = [line.decode() for line in server.heard if line.startswith(b"MAIL")]
    assert mails[0].endswith(f"SIZE={len(ready.octets) - 3}")
    assert mails[1].endswith(" BODY=8BITMIME")


def test_it_counts_a_ready_letter_without_its_stuffing_where_size_decides() -> None:
    lines = b"Subject: 1\r\n\r\n" + b".\r\n" * 10
    with ScriptedServer(Planned(offered=("PIPELINING", f"SIZE {len(lines)}"))) as server:
        for spare, accepted in ((0, True), (1, False)):
            ready = WireLetter(terminated(lines + b"x" * spare), ascii=True)
            with session(server.port) as client:
                client.open()
                outcomes = list(client.send_all([submission(1, lambda _e, it=ready: it)], Book()))
            assert [outcome.accepted for outcome in outcomes] == [accepted]


# ---- letters that cannot go


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize(
    ("recipient", "made"),
    [("nobody", None), ("a b@example.net", None), ("jürgen@example.net", None), (None, b"x" * 11_000_000)],
    ids=["no mailbox", "a space", "no SMTPUTF8", "too large"],
)
def test_a_letter_that_cannot_go_has_its_outcome_in_order_and_nothing_on_the_wire(
    place: int, recipient: str | None, made: bytes | None
) -> None:
    them = [submission(number) for number in range(3)]
    them[place] = submission(place, made)
    if recipient:
        them[place] = replace(them[place], recipient=recipient)
    planned, book = Planned(), Book()
    with ScriptedServer(planned) as server, session(server.port) as client:
        client.open()
        outcomes = book.note(client.send_all(book.submissions(them), book))
        assert client.reusable
    others = [number for number in range(3) if number != place]
    assert planned.accepted == others
    assert [outcome.verdict for outcome in outcomes] == [
        Verdict.PERMANENT if number == place else Verdict.ACCEPTED for number in range(3)
    ]
    assert not any(event.startswith((f"envelope {place}", f"body {place}")) for event in book.events)
    assert not any(f"n{place}@".encode() in line for line in server.heard)
    assert outcomes[place].bytes_sent == 0


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("offered", [OFFERED, ("8BITMIME",)], ids=["pipelined", "stepwise"])
def test_what_making_a_letter_raises_comes_after_the_outcome_before_and_the_connection_stays(
    place: int, offered: tuple[str, ...]
) -> None:
    class NoTemplate(Exception):
        pass

    def fail(_eightbit: bool) -> bytes:
        raise NoTemplate

    them = [submission(number, fail if number == place else None) for number in range(3)]
    planned, book = Planned(offered=offered), Book()
    with ScriptedServer(planned) as server, session(server.port) as client:
        client.open()
        with pytest.raises(NoTemplate):
            book.note(client.send_all(book.submissions(them), book))
        assert client.reusable
        assert planned.accepted == list(range(place))
        book.send_all(client, 7)
    assert planned.accepted == [*range(place), 7]
    assert book.pulled == [*range(place + 1), 7]


def test_it_will_not_send_what_the_server_did_not_offer_to_take() -> None:
    them = [submission(1), submission(2, "é".encode())]
    planned, book = Planned(offered=("PIPELINING",)), Book()
    with ScriptedServer(planned) as server, session(server.port) as client:
        client.open()
        with pytest.raises(ValueError, match="8BITMIME"):
            book.note(client.send_all(book.submissions(them), book))
        assert client.reusable
    assert planned.accepted == [1]
    assert b"\xc3" not in b"".join(planned.taken)


def test_it_tells_a_letter_maker_whether_8bit_may_be_used() -> None:
    told: list[bool] = []
    for offered in (OFFERED, ("PIPELINING",)):
        with ScriptedServer(Planned(offered=offered)) as server, session(server.port) as client:
            client.open()
            list(client.send_all([submission(1, lambda eight: told.append(eight) or letter(1))], Book()))
    assert told == [True, False]
