"""Every refusal in the middle of a pipeline: whose it is, what the server is told next, and what is never sent."""

from threading import Event

import pytest

from panel.smtp.outcome import About, FailureCode, Phase, Verdict
from tests.engines.smtp.kit import session
from tests.engines.smtp.pipelining import Book, Plan, Planned
from tests.support.mailserver import Peer, ScriptedServer

NO = "550 5.1.1 no"
LATER = "451 4.3.0 later"

REFUSED = [
    ("MAIL, then 503 twice", Plan(mail=NO), Phase.MAIL, Verdict.PERMANENT),
    ("MAIL for now", Plan(mail=LATER), Phase.MAIL, Verdict.TEMPORARY),
    ("MAIL, and 554 to DATA", Plan(mail=NO, data_alone="554 5.5.1 no"), Phase.MAIL, Verdict.PERMANENT),
    ("MAIL, and yet 354", Plan(mail=NO, data_alone="354 go"), Phase.MAIL, Verdict.PERMANENT),
    ("RCPT, then 503", Plan(rcpt=NO), Phase.RCPT, Verdict.PERMANENT),
    ("RCPT for now", Plan(rcpt=LATER), Phase.RCPT, Verdict.TEMPORARY),
    ("RCPT, then 554", Plan(rcpt=NO, data_alone="554 5.5.1 no"), Phase.RCPT, Verdict.PERMANENT),
    ("RCPT, then 451", Plan(rcpt=NO, data_alone=LATER), Phase.RCPT, Verdict.PERMANENT),
    ("RCPT, and yet 354", Plan(rcpt=NO, data_alone="354 go"), Phase.RCPT, Verdict.PERMANENT),
    ("DATA", Plan(data="554 5.7.1 no"), Phase.DATA, Verdict.PERMANENT),
    ("DATA for now", Plan(data=LATER), Phase.DATA, Verdict.TEMPORARY),
    ("body", Plan(dot="554 5.7.1 spam"), Phase.FINAL_DOT, Verdict.PERMANENT),
    ("body for now", Plan(dot="452 4.3.1 full"), Phase.FINAL_DOT, Verdict.TEMPORARY),
]


@pytest.mark.parametrize("at_once", [False, True], ids=["replies one by one", "replies all at once"])
@pytest.mark.parametrize("ride", [True, False], ids=["riding", "not riding"])
@pytest.mark.parametrize("place", [0, 1, 2], ids=["first", "middle", "last"])
@pytest.mark.parametrize(
    ("plan", "phase", "verdict"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED]
)
def test_a_refused_letter_stops_no_other(
    plan: Plan, phase: Phase, verdict: Verdict, place: int, ride: bool, at_once: bool
) -> None:
    planned, book = Planned({place: plan}, at_once=at_once), Book()
    with ScriptedServer(planned) as server, session(server.port, ride=ride) as client:
        client.open()
        outcomes = book.send_all(client, 0, 1, 2)
        assert client.reusable
        book.send_all(client, 3)
        client.quit()
        server.finish()
    assert planned.accepted == [number for number in range(4) if number != place]
    assert server.connections == 1
    refused = outcomes.pop(place)
    assert (refused.verdict, refused.phase, refused.stale) == (verdict, phase, False)
    assert refused.code == int(
        next(reply for reply in (plan.mail, plan.rcpt, plan.data, plan.dot) if reply[0] in "45")[:3]
    )
    assert (refused.bytes_sent > 0) is (phase is Phase.FINAL_DOT)
    assert [outcome.verdict for outcome in outcomes] == [Verdict.ACCEPTED] * 2
    # Whatever was asked for by mistake got a lone dot, and no letter.
    assert planned.taken.count(b"") == (1 if plan.data_alone == "354 go" else 0)


@pytest.mark.parametrize(
    ("plan", "resets"),
    [
        (Plan(mail=NO), 1),
        (Plan(rcpt=NO), 1),
        (Plan(rcpt=NO, data_alone="354 go"), 0),
        (Plan(data="554 no"), 1),
        (Plan(dot="554 no"), 0),
    ],
)
def test_it_resets_where_a_part_of_a_letter_may_be_left_and_in_the_same_write_as_the_next(
    plan: Plan, resets: int
) -> None:
    planned = Planned({1: plan}, at_once=True)
    with ScriptedServer(planned) as server, session(server.port) as client:
        client.open()
        Book().send_all(client, 1, 2, 3)
    verbs = [line.split()[0].decode() for line in server.heard[1:]]
    assert verbs.count("RSET") == resets
    if resets:
        # A server that answers only when nothing more has come would otherwise have answered RSET by itself.
        assert verbs == ["MAIL", "RCPT", "DATA", "RSET", *["MAIL", "RCPT", "DATA"] * 2]
    assert planned.accepted == [2, 3]


def test_the_reset_costs_no_round_trip() -> None:
    def script(peer: Peer) -> None:
        peer.greet("PIPELINING")
        for verb in ("MAIL", "RCPT", "DATA"):
            peer.hear(verb)
        peer.say("250 ok", NO, "503 no recipient")
        for verb in ("RSET", "MAIL", "RCPT", "DATA"):
            peer.hear(verb)
        peer.say("250 reset", "250 ok", "250 ok", "354 go")
        peer.hear_letter()
        peer.say("250 ok")
        peer.stall()

    with ScriptedServer(script) as server, session(server.port) as client:
        client.open()
        assert [outcome.accepted for outcome in Book().send_all(client, 1, 2)] == [False, True]


@pytest.mark.parametrize(
    ("reply", "verdict", "failure", "stale"),
    [
        ("500 what?", Verdict.NOT_SENT, FailureCode.PROTOCOL_ERROR, False),
        ("421 4.7.0 too many errors", Verdict.TEMPORARY, FailureCode.SERVER_BUSY, True),
    ],
)
def test_it_gives_up_on_a_server_that_does_not_reset(
    reply: str, verdict: Verdict, failure: FailureCode, stale: bool
) -> None:
    def script(peer: Peer) -> None:
        peer.greet("PIPELINING")
        for verb in ("MAIL", "RCPT", "DATA"):
            peer.hear(verb)
        peer.say("250 ok", NO, "503 no recipient")
        for verb in ("RSET", "MAIL", "RCPT", "DATA"):
            peer.hear(verb)
        peer.say(reply, "250 ok", "250 ok", "354 go")
        assert peer.sock.recv(100) == b"", "not even a dot"

    with ScriptedServer(script) as server, session(server.port) as client:
        client.open()
        outcomes = Book().send_all(client, 1, 2, 3)
        assert not client.reusable
        server.finish()
    assert [outcome.verdict for outcome in outcomes] == [Verdict.PERMANENT, verdict]
    assert (outcomes[1].failure, outcomes[1].stale, outcomes[1].bytes_sent) == (failure, stale, 0)


def test_it_begins_anew_for_the_letter_after_a_refused_one() -> None:
    book = Book()
    with ScriptedServer(Planned({1: Plan(rcpt=NO), 3: Plan(dot=NO)})) as server, session(server.port) as client:
        client.open()
        book.send_all(client, 1, 2, 3, 4)
    assert book.events == [
        "pull 1", "envelope 1", "permanent",
        "pull 2", "envelope 2", "pull 3", "body 2 with 3", "accepted",
        "pull 4", "body 3 with 4", "permanent",
        "body 4", "accepted",
    ]  # fmt: skip


# ---- a server that says yes where it may not: nothing goes out


def played(*replies: str, lone_dot: str | None = None, riding: bool = False) -> tuple[list, list[bytes], bool]:
    """Answer the first letter's commands, or the second's with the dot of the first, so; return what came of it."""
    after: list[bytes] = []

    def script(peer: Peer) -> None:
        peer.greet("PIPELINING")
        for verb in ("MAIL", "RCPT", "DATA"):
            peer.hear(verb)
        if riding:
            peer.say("250 ok", "250 ok", "354 go")
            peer.hear_letter()
            for verb in ("MAIL", "RCPT", "DATA"):
                peer.hear(verb)
            peer.say("250 accepted", *replies)
        else:
            peer.say(*replies)
        if lone_dot is not None:
            assert peer.hear_letter() == b""
            peer.say(lone_dot)
        after.append(peer.unheard or peer.sock.recv(100))

    book = Book()
    with ScriptedServer(script) as server, session(server.port) as client:
        client.open()
        outcomes = book.send_all(client, 1, *([2] if riding else []))
        reusable = client.reusable
        client.close()
        server.finish()
    if riding:
        assert outcomes.pop(0).accepted
    assert f"body {2 if riding else 1}" not in book.events
    return outcomes, after, reusable


@pytest.mark.parametrize("riding", [False, True], ids=["first", "riding"])
@pytest.mark.parametrize(
    ("replies", "verdict", "phase", "code"),
    [
        # MAIL refused, RCPT taken, and the letter asked for: a lone dot would send an empty letter.
        ((NO, "250 ok", "354 go"), Verdict.PERMANENT, Phase.MAIL, 550),
        ((NO, NO, "250 ok"), Verdict.PERMANENT, Phase.MAIL, 550),
        ((NO, NO, "421 bye"), Verdict.PERMANENT, Phase.MAIL, 550),
        (("250 ok", NO, "250 ok"), Verdict.PERMANENT, Phase.RCPT, 550),
        (("250 ok", NO, "421 bye"), Verdict.PERMANENT, Phase.RCPT, 550),
        (("250 ok", NO, "abc"), Verdict.PERMANENT, Phase.RCPT, 550),
        (("250 ok", "250 ok", "250 ok"), Verdict.NOT_SENT, Phase.DATA, None),
        (("250 ok", "354 go", "354 go"), Verdict.NOT_SENT, Phase.RCPT, None),
        (("354 go", "250 ok", "354 go"), Verdict.NOT_SENT, Phase.MAIL, None),
        (("250 ok", "250 ok", "334 go"), Verdict.NOT_SENT, Phase.DATA, None),
        (("250 ok", "250 ok", "421 bye"), Verdict.TEMPORARY, Phase.DATA, 421),
        (("250 ok", "421 bye"), Verdict.TEMPORARY, Phase.RCPT, 421),
        # One reply too many: from here on none would answer what was asked.
        (("250 ok", "250 ok", "354 go", "250 accepted"), Verdict.NOT_SENT, Phase.DATA, None),
        (("250 ok", "250 ok", "354 go", "554 no"), Verdict.NOT_SENT, Phase.DATA, None),
        (("250 ok", "250 ok", "250 ok", "354 go"), Verdict.NOT_SENT, Phase.DATA, None),
        (("250 ok", "250 ok", "354 go", "421 bye"), Verdict.TEMPORARY, Phase.DATA, 421),
        ((NO, NO, "503 no", "250 more"), Verdict.PERMANENT, Phase.MAIL, 550),
        (("250 ok", NO, "354 go", "250 more"), Verdict.PERMANENT, Phase.RCPT, 550),
        (("250 ok", "250 ok", NO, "250 more"), Verdict.PERMANENT, Phase.DATA, 550),
    ],
)
def test_it_sends_nothing_and_hangs_up_when_replies_make_no_sense(
    replies: tuple[str, ...], verdict: Verdict, phase: Phase, code: int | None, riding: bool
) -> None:
    outcomes, after, reusable = played(*replies, riding=riding)
    assert [(outcome.verdict, outcome.phase, outcome.code) for outcome in outcomes] == [(verdict, phase, code)]
    assert outcomes[0].bytes_sent == 0
    assert after == [b""], "something was sent after it"
    assert not reusable


@pytest.mark.parametrize(
    ("reply", "usable"), [("250 ok", True), ("554 no valid recipients", True), ("421 bye", False), ("354 go", True)]
)
def test_a_lone_dot_sends_nothing_whatever_the_server_says_to_it(reply: str, usable: bool) -> None:
    outcomes, after, reusable = played("250 ok", NO, "354 go", lone_dot=reply)
    assert [(outcome.verdict, outcome.about, outcome.code) for outcome in outcomes] == [
        (Verdict.PERMANENT, About.RECIPIENT, 550)
    ]
    assert after == [b""]
    assert reusable is usable


@pytest.mark.parametrize("late", ["250 accepted", "421 idle too long"])
def test_it_looks_once_more_before_the_body_leaves(late: str) -> None:
    """What the server says while the journal is written does not answer a final dot that was not said."""
    writing, said, after = Event(), Event(), []

    def script(peer: Peer) -> None:
        peer.greet("PIPELINING")
        for verb in ("MAIL", "RCPT", "DATA"):
            peer.hear(verb)
        peer.say("250 ok", "250 ok", "354 go")
        assert writing.wait(5)
        peer.say(late)
        said.set()
        after.append(peer.sock.recv(100))

    def while_writing(_number: int) -> None:
        writing.set()
        assert said.wait(5)

    book = Book(on_body=while_writing)
    with ScriptedServer(script) as server, session(server.port) as client:
        client.open()
        outcomes = book.send_all(client, 1, 2)
        server.finish()
    assert after == [b""]
    expected = Verdict.TEMPORARY if late.startswith("421") else Verdict.NOT_SENT
    assert [outcome.verdict for outcome in outcomes] == [expected, Verdict.NOT_SENT]
    assert [outcome.stale for outcome in outcomes] == [False, True]
    assert [outcome.bytes_sent for outcome in outcomes] == [0, 0]
