"""Where a pipelined conversation breaks: each letter that was taken has its outcome, and none claims too much."""

import threading
from collections.abc import Iterator

import pytest

from panel.smtp.outcome import FailureCode, Outcome, Phase, Verdict
from panel.smtp.session import Submission
from tests.engines.smtp.kit import session, short
from tests.engines.smtp.pipelining import OFFERED, Book, Plan, Planned, submission
from tests.support.mailserver import Peer, ScriptedServer
from tests.support.wait import wait_for

BUSY = "421 4.3.2 shutting down"
ACCEPTED, NOT_SENT, UNKNOWN = Verdict.ACCEPTED, Verdict.NOT_SENT, Verdict.UNKNOWN
TEMPORARY, PERMANENT = Verdict.TEMPORARY, Verdict.PERMANENT
TAKEN = (ACCEPTED, Phase.FINAL_DOT, False)
LEFT_BEHIND = (NOT_SENT, Phase.MAIL, True)


def sent(plans: dict[int, Plan], *numbers: int, **options: object) -> tuple[list[Outcome], Planned, Book]:
    planned, book = Planned(plans), Book()
    with ScriptedServer(planned) as server, session(server.port, **options) as client:
        client.open()
        outcomes = book.send_all(client, *numbers)
        assert not client.reusable
        assert client.phase is Phase.CLOSED
    return outcomes, planned, book


def known(outcomes: list[Outcome]) -> list[tuple[Verdict, Phase, bool]]:
    return [(outcome.verdict, outcome.phase, outcome.stale) for outcome in outcomes]


BREAKS = [
    # Of the first letter of a fresh connection: it is the server's doing, and nothing is stale.
    ({1: Plan(mail=None)}, [(NOT_SENT, Phase.MAIL, False)]),
    ({1: Plan(mail=BUSY)}, [(TEMPORARY, Phase.MAIL, False)]),
    ({1: Plan(rcpt=None)}, [(NOT_SENT, Phase.RCPT, False)]),
    ({1: Plan(rcpt=BUSY)}, [(TEMPORARY, Phase.RCPT, False)]),
    ({1: Plan(data=None)}, [(NOT_SENT, Phase.DATA, False)]),
    ({1: Plan(data=BUSY)}, [(TEMPORARY, Phase.DATA, False)]),
    # The body left, and with it the second letter's commands.
    ({1: Plan(dot=None)}, [(UNKNOWN, Phase.FINAL_DOT, False), LEFT_BEHIND]),
    ({1: Plan(dot=BUSY)}, [(TEMPORARY, Phase.FINAL_DOT, False), LEFT_BEHIND]),
    ({1: Plan(dot="354 go on")}, [(UNKNOWN, Phase.FINAL_DOT, False), LEFT_BEHIND]),
    ({1: Plan(dot="2500 ok")}, [(UNKNOWN, Phase.FINAL_DOT, False), LEFT_BEHIND]),
    ({1: Plan(dot="abc")}, [(UNKNOWN, Phase.FINAL_DOT, False), LEFT_BEHIND]),
    # The first was accepted: no word on the second's MAIL says nothing about it; a word on it does.
    ({2: Plan(mail=None)}, [TAKEN, LEFT_BEHIND]),
    ({2: Plan(mail=BUSY)}, [TAKEN, (TEMPORARY, Phase.MAIL, True)]),
    ({2: Plan(mail="421 4.7.0 daily sending quota exceeded")}, [TAKEN, (TEMPORARY, Phase.MAIL, False)]),
    ({1: Plan(close_after=True)}, [TAKEN, LEFT_BEHIND]),
    ({1: Plan(dot="554 no", close_after=True)}, [(PERMANENT, Phase.FINAL_DOT, False), LEFT_BEHIND]),
    ({2: Plan(mail="abc")}, [TAKEN, (NOT_SENT, Phase.MAIL, False)]),
    ({2: Plan(rcpt=None)}, [TAKEN, (NOT_SENT, Phase.RCPT, False)]),
    ({2: Plan(rcpt=BUSY)}, [TAKEN, (TEMPORARY, Phase.RCPT, False)]),
    ({2: Plan(data=None)}, [TAKEN, (NOT_SENT, Phase.DATA, False)]),
    ({2: Plan(data=BUSY)}, [TAKEN, (TEMPORARY, Phase.DATA, False)]),
    ({2: Plan(dot=None)}, [TAKEN, (UNKNOWN, Phase.FINAL_DOT, False), LEFT_BEHIND]),
    # Refused, and gone before the rest of its commands is answered: the refusal stands.
    ({1: Plan(mail="550 no", data_alone=None)}, [(PERMANENT, Phase.MAIL, False)]),
    ({1: Plan(rcpt="450 no", data_alone=BUSY)}, [(TEMPORARY, Phase.RCPT, False)]),
]  # fmt: skip


@pytest.mark.parametrize(("plans", "expected"), BREAKS)
def test_each_letter_that_was_taken_has_its_outcome(
    plans: dict[int, Plan], expected: list[tuple[Verdict, Phase, bool]]
) -> None:
    outcomes, planned, book = sent(plans, 1, 2, 3, 4)
    assert known(outcomes) == expected
    assert book.pulled == list(range(1, len(expected) + 1)), "one outcome for each letter taken, and no other was taken"
    accepted = [number for number, outcome in enumerate(outcomes, 1) if outcome.accepted]
    assert set(accepted) <= set(planned.accepted)
    for outcome in outcomes:
        assert (outcome.failure is None) is outcome.accepted
        assert (outcome.bytes_sent > 0) is (outcome.phase is Phase.FINAL_DOT)


def test_a_letter_left_behind_by_a_letter_that_cannot_go_is_said_to_be_that() -> None:
    planned, book = Planned({1: Plan(dot=None)}), Book()
    with ScriptedServer(planned) as server, session(server.port) as client:
        client.open()
        impossible = Submission(sender="n2@example.org", recipient="nobody", letter=lambda _eightbit: b"")
        outcomes = book.note(client.send_all(book.submissions([submission(1), impossible, submission(3)]), book))
    assert [outcome.verdict for outcome in outcomes] == [Verdict.UNKNOWN, PERMANENT]
    assert book.pulled == [1, 2]


@pytest.mark.parametrize("ride", [True, False])
def test_a_server_may_close_after_every_letter(ride: bool) -> None:
    """As a lane does it: what proved to be stale goes again over a fresh connection; none is lost, none repeated."""
    planned = Planned({number: Plan(close_after=True) for number in range(6)})
    done: list[int] = []
    with ScriptedServer(planned) as server:
        while len(done) < 6:
            with session(server.port, ride=ride) as client:
                client.open()
                outcomes = Book().send_all(client, *range(len(done), 6))
            accepted = [outcome for outcome in outcomes if outcome.accepted]
            assert len(accepted) == 1
            assert all(outcome.stale for outcome in outcomes[1:])
            done.append(len(done))
        assert server.connections == 6
    assert done == planned.accepted == list(range(6))


def test_a_server_may_close_after_every_few_letters() -> None:
    planned = Planned({number: Plan(close_after=True) for number in (2, 5, 8)})
    left = list(range(10))
    with ScriptedServer(planned) as server:
        while left:
            with session(server.port) as client:
                client.open()
                outcomes = Book().send_all(client, *left)
            accepted = [outcome for outcome in outcomes if outcome.accepted]
            assert all(outcome.stale for outcome in outcomes[len(accepted) :])
            left = left[len(accepted) :]
        assert server.connections == 4
    assert planned.accepted == list(range(10))


@pytest.mark.parametrize("offered", [OFFERED, ("8BITMIME",)], ids=["pipelined", "stepwise"])
@pytest.mark.parametrize("word", [None, "421 4.4.2 idle too long"])
def test_a_kept_connection_that_was_closed_meanwhile_is_stale_and_the_journal_hears_nothing(
    word: str | None, offered: tuple[str, ...]
) -> None:
    def script(peer: Peer) -> None:
        peer.greet(*offered)
        peer.take_envelope()
        peer.hear_letter()
        peer.say("250 ok")
        assert tell.wait(5)
        if word:
            peer.say(word)

    tell, book = threading.Event(), Book()
    with ScriptedServer(script) as server, session(server.port) as client:
        client.open()
        assert book.send_all(client, 1)[0].accepted
        assert client.reusable
        tell.set()
        server.finish()
        (outcome,) = book.send_all(client, 2, 3)
        assert not client.reusable
    assert outcome.stale
    assert outcome.verdict is (TEMPORARY if word else NOT_SENT)
    assert outcome.code == (421 if word else None)
    assert book.pulled == [1, 2]
    assert "envelope 2" not in book.events


def test_a_connection_that_lay_idle_before_its_first_letter_is_stale_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("panel.smtp.mailing.IDLE", 0.0)
    with ScriptedServer(lambda peer: peer.greet("PIPELINING")) as server, session(server.port) as client:
        client.open()
        server.finish()
        (outcome,) = Book().send_all(client, 1)
    assert (outcome.verdict, outcome.stale) == (NOT_SENT, True)


def test_a_fresh_connection_that_ends_at_once_is_the_servers_fault() -> None:
    with ScriptedServer(lambda peer: peer.greet("PIPELINING")) as server, session(server.port) as client:
        client.open()
        (outcome,) = Book().send_all(client, 1, 2)
    assert (outcome.verdict, outcome.stale, outcome.failure) == (NOT_SENT, False, FailureCode.PROTOCOL_ERROR)


# ---- time-outs


@pytest.mark.parametrize(
    ("replies", "expected"),
    [
        ([], [(NOT_SENT, Phase.MAIL, False)]),
        (["250 ok"], [(NOT_SENT, Phase.RCPT, False)]),
        (["250 ok", "250 ok"], [(NOT_SENT, Phase.DATA, False)]),
        (["250 ok", "250 ok", "354 go"], [(UNKNOWN, Phase.FINAL_DOT, False), LEFT_BEHIND]),
        (["250 ok", "250 ok", "354 go", "250 ok"], [TAKEN, (NOT_SENT, Phase.MAIL, False)]),
        (["550 no"], [(PERMANENT, Phase.MAIL, False)]),
        (["250 ok", "550 no"], [(PERMANENT, Phase.RCPT, False)]),
    ],
)
def test_it_waits_for_each_reply_only_so_long(replies: list[str], expected: list[tuple[Verdict, Phase, bool]]) -> None:
    def script(peer: Peer) -> None:
        peer.greet("PIPELINING")
        for verb in ("MAIL", "RCPT", "DATA"):
            peer.hear(verb)
        if replies:
            peer.say(*replies[:3])
        if len(replies) >= 3:
            peer.hear_letter()
            if replies[3:]:
                peer.say(*replies[3:])
        peer.stall()

    timeouts = short(reply=0.2, data=0.2, final_dot=0.2)
    with ScriptedServer(script) as server, session(server.port, timeouts=timeouts) as client:
        client.open()
        outcomes = Book().send_all(client, 1, 2, 3)
        assert not client.reusable
    assert known(outcomes) == expected
    broken = [outcome for outcome in outcomes if outcome.verdict in (NOT_SENT, UNKNOWN)]
    assert all(outcome.failure is FailureCode.TIMED_OUT for outcome in broken if not outcome.stale)


# ---- another thread puts an end to it


@pytest.mark.parametrize(
    ("said", "phase", "expected"),
    [
        ([], Phase.MAIL, [NOT_SENT]),
        (["250 ok"], Phase.RCPT, [NOT_SENT]),
        (["250 ok", "250 ok"], Phase.DATA, [NOT_SENT]),
        (["250 ok", "250 ok", "354 go"], Phase.FINAL_DOT, [UNKNOWN, NOT_SENT]),
        (["250 ok", "250 ok", "354 go", "250 ok"], Phase.MAIL, [ACCEPTED, NOT_SENT]),
        (["250 ok", "250 ok", "354 go", "250 ok", "250 ok"], Phase.RCPT, [ACCEPTED, NOT_SENT]),
        (["250 ok", "250 ok", "354 go", "250 ok", "250 ok", "250 ok"], Phase.DATA, [ACCEPTED, NOT_SENT]),
    ],
)
def test_an_abort_ends_it_at_once_and_each_letter_says_canceled(
    said: list[str], phase: Phase, expected: list[Verdict]
) -> None:
    def script(peer: Peer) -> None:
        peer.greet("PIPELINING")
        for verb in ("MAIL", "RCPT", "DATA"):
            peer.hear(verb)
        if said:
            peer.say(*said[:3])
        if said[2:]:
            peer.hear_letter()
            for verb in ("MAIL", "RCPT", "DATA"):
                peer.hear(verb)
            if said[3:]:
                peer.say(*said[3:])
        all_said.set()
        peer.stall()

    all_said = threading.Event()
    found: list[Outcome] = []
    book = Book()
    with ScriptedServer(script) as server, session(server.port) as client:
        client.open()
        thread = threading.Thread(target=lambda: found.extend(book.send_all(client, 1, 2, 3)))
        thread.start()
        assert all_said.wait(5)
        wait_for(lambda: client.phase is phase and book.events.count("accepted") == expected.count(ACCEPTED))
        client.abort()
        thread.join(5)
        assert not thread.is_alive()
        assert not client.reusable
    assert [outcome.verdict for outcome in found] == expected
    ended = [outcome for outcome in found if outcome.verdict in (NOT_SENT, UNKNOWN)]
    assert all(outcome.failure is FailureCode.CANCELED and not outcome.stale for outcome in ended)
    assert book.pulled == list(range(1, len(expected) + 1))


@pytest.mark.parametrize("when", ["body", "envelope", "pull", "outcome"])
def test_an_abort_while_others_have_the_word_lets_nothing_more_leave(when: str) -> None:
    """From within the journal, the source or whoever takes the outcomes."""
    planned, book = Planned(), Book()
    with ScriptedServer(planned) as server, session(server.port) as client:
        client.open()

        def letters() -> Iterator[Submission]:
            yield submission(1)
            if when == "pull":
                client.abort()
            yield submission(2)
            yield submission(3)

        if when == "body":
            book.on_body = lambda _number: client.abort()
        if when == "envelope":
            book.on_envelope = lambda _number: client.abort()
        outcomes = []
        for outcome in client.send_all(book.submissions(letters()), book):
            outcomes.append(outcome)
            if when == "outcome":
                client.abort()
        assert not client.reusable
        client.close()
        server.finish()
    accepted = [1] if when == "outcome" else []
    assert planned.accepted == accepted
    assert [outcome.accepted for outcome in outcomes] == [True] * len(accepted) + [False] * (
        len(book.pulled) - len(accepted)
    )
    last = [outcome for outcome in outcomes if not outcome.accepted]
    assert last
    assert all((outcome.verdict, outcome.failure) == (NOT_SENT, FailureCode.CANCELED) for outcome in last)


@pytest.mark.parametrize(("plan", "ride"), [(Plan(rcpt="550 no"), True), (Plan(), False)])
def test_nothing_more_is_taken_once_it_was_aborted(plan: Plan, ride: bool) -> None:
    book = Book()
    with ScriptedServer(Planned({1: plan})) as server, session(server.port, ride=ride) as client:
        client.open()
        for outcome in client.send_all(book.letters(1, 2), book):
            assert outcome.accepted is plan.accepts
            client.abort()
    assert book.pulled == [1]


# ---- trouble of our own


class DatabaseIsGone(Exception):
    pass


@pytest.mark.parametrize("offered", [OFFERED, ("8BITMIME",)], ids=["pipelined", "stepwise"])
@pytest.mark.parametrize("at", [1, 2])
@pytest.mark.parametrize("where", ["body", "envelope", "pull"])
def test_what_the_journal_or_the_source_raises_is_passed_on_and_no_dot_is_said(
    where: str, at: int, offered: tuple[str, ...]
) -> None:
    # Pipelined, a letter is only told of by itself when the one before it was refused.
    planned = Planned({1: Plan(rcpt="550 no")} if where == "envelope" else {}, offered=offered)
    book = Book()

    def check(number: int) -> None:
        if number == at:
            raise DatabaseIsGone

    def letters() -> Iterator[Submission]:
        for number in (1, 2, 3):
            if where == "pull":
                check(number)
            yield submission(number)

    if where == "body":
        book.on_body = check
    if where == "envelope":
        book.on_envelope = check
    with ScriptedServer(planned) as server, session(server.port) as client:
        client.open()
        with pytest.raises(DatabaseIsGone):
            book.note(client.send_all(book.submissions(letters()), book))
        usable = client.reusable
        assert client.phase is (Phase.READY if usable else Phase.CLOSED)
        assert usable or [one.verdict for one in Book().send_all(client, 9)] == [NOT_SENT]
        client.close()
        server.finish()
    assert b"" not in planned.taken
    assert not any(b"n9@" in line for line in server.heard), "it was said to a server that awaits a letter"
    # Pipelined, the source is asked for the second letter while the first one waits for its body.
    under_way = where == "pull" and at == 2 and offered == OFFERED
    assert planned.accepted == ([1] if at == 2 and where != "envelope" and not under_way else [])
    assert usable is (where == "pull" and not under_way)


@pytest.mark.parametrize("after", [1, 2])
def test_whoever_stops_taking_outcomes_leaves_no_letter_half_said(after: int) -> None:
    planned, book = Planned(), Book()
    with ScriptedServer(planned) as server, session(server.port) as client:
        client.open()
        outcomes = client.send_all(book.letters(1, 2), book)
        for _ in range(after):
            assert next(outcomes).accepted
        outcomes.close()
        assert client.reusable is (after == 2)
        assert client.phase is (Phase.READY if after == 2 else Phase.CLOSED)
        client.close()
        server.finish()
    assert planned.accepted == list(range(1, after + 1))
    assert b"" not in planned.taken
