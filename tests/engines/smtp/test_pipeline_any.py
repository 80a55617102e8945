"""Any mix of answers, cut into any pieces: one outcome for each letter, and none accepted that is not said to be."""

from dataclasses import replace
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from panel.smtp.outcome import Outcome, Phase, Verdict
from tests.engines.smtp.kit import session
from tests.engines.smtp.pipelining import OFFERED, Book, Plan, Planned
from tests.support.mailserver import ScriptedServer, server_context

YES = st.just("250 2.0.0 Ok") | st.just("250-2.0.0 more\r\n250 2.0.0 Ok: queued")
NO = st.sampled_from(["450 4.2.0 later", "452 4.3.1 full", "550 5.1.1 no", "554-5.7.1 no\r\n554 5.7.1 never"])
END = st.sampled_from([None, "421 4.3.2 bye", "2500 what", "199 huh"])


def mostly(usual: st.SearchStrategy[str]) -> st.SearchStrategy[str | None]:
    return st.one_of(usual, usual, usual, NO, NO, END)


plans = st.builds(
    Plan,
    mail=mostly(YES),
    rcpt=mostly(YES),
    data=mostly(st.just("354 go")),
    dot=mostly(YES),
    data_alone=st.sampled_from(["503 5.5.1 no", "554 5.5.1 no", "354 go", "354 go", "421 bye", None]),
    close_after=st.sampled_from([False, False, False, False, True]),
)
refusing_plans = st.builds(
    Plan,
    mail=YES | YES | NO,
    rcpt=YES | YES | NO,
    data=st.just("354 go") | st.just("354 go") | NO,
    dot=YES | YES | NO,
    data_alone=st.sampled_from(["503 5.5.1 no", "554 5.5.1 no", "354 go"]),
)
pieces = st.none() | st.integers(1, 7)
real_sockets = settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


def sent(planned: Planned, count: int, *, ride: bool = True, security: str = "none") -> tuple[list[Outcome], Book]:
    """Send so many letters over one connection to a server that goes by plan."""
    script = planned
    if security == "tls":
        context = server_context()

        def script(peer) -> None:
            peer.start_tls(context)
            planned(peer)

    book = Book()
    with ScriptedServer(script) as server, session(server.port, security=security, ride=ride) as client:
        client.open()
        outcomes = book.send_all(client, *range(count))
        assert client.reusable is (client.phase is Phase.READY)
        if len(outcomes) < count:
            assert not client.reusable, "letters were left while the connection was of use"
        client.close()
        server.finish()
    return outcomes, book


def assert_sound(outcomes: list[Outcome], planned: Planned, book: Book) -> None:
    """What must hold whatever a server says."""
    assert book.pulled == list(range(len(outcomes)))
    said = {number for number, outcome in enumerate(outcomes) if outcome.accepted}
    may_be = {number for number, outcome in enumerate(outcomes) if outcome.verdict is Verdict.UNKNOWN}
    assert said <= set(planned.accepted) <= said | may_be
    assert len(planned.accepted) == len(set(planned.accepted))
    assert len(may_be) <= 1
    for number, outcome in enumerate(outcomes):
        body_told = any(event.split(" with")[0] == f"body {number}" for event in book.events)
        told = body_told or any(
            event in (f"envelope {number}", f"body {number - 1} with {number}") for event in book.events
        )
        assert told or outcome.stale
        if outcome.phase in (Phase.BODY, Phase.FINAL_DOT):
            assert body_told
        assert (outcome.bytes_sent > 0) is (outcome.phase is Phase.FINAL_DOT)
        if outcome.stale:
            assert number > 0
            assert outcome.verdict in (Verdict.NOT_SENT, Verdict.TEMPORARY)
            assert number not in planned.accepted


@real_sockets
@given(st.lists(refusing_plans, min_size=1, max_size=6), st.booleans(), st.booleans(), pieces, st.integers(1, 40))
@example([Plan(rcpt="550 no", data_alone="354 go")] * 4, True, True, None, 1)
@example([Plan(), Plan(mail="550 no", data_alone="354 go"), Plan(dot="554 no"), Plan()], True, True, 1, 1)
def test_any_mix_of_refusals_leaves_the_connection_usable_and_each_letter_with_what_was_said_of_it(
    them: list[Plan], ride: bool, at_once: bool, pieces: int | None, receive: int
) -> None:
    planned = Planned(dict(enumerate(them)), at_once=at_once, pieces=pieces)
    with patch("panel.smtp.transport.RECEIVE", receive):
        outcomes, book = sent(planned, len(them), ride=ride)
    assert len(outcomes) == len(them)
    assert_sound(outcomes, planned, book)
    for plan, outcome in zip(them, outcomes, strict=True):
        assert outcome.accepted is plan.accepts
        if not plan.accepts:
            replies = (plan.mail, plan.rcpt, plan.data, plan.dot)
            assert outcome.code == next(int(reply[:3]) for reply in replies if reply and reply[0] in "45")


@real_sockets
@given(
    st.lists(plans, min_size=1, max_size=6),
    st.booleans(),
    st.booleans(),
    pieces,
    st.integers(1, 40),
    st.sampled_from([OFFERED, ("8BITMIME",)]),
)
def test_whatever_a_server_does_no_letter_is_lost_or_claimed(
    them: list[Plan], ride: bool, at_once: bool, pieces: int | None, receive: int, offered: tuple[str, ...]
) -> None:
    planned = Planned(dict(enumerate(them)), at_once=at_once, pieces=pieces, offered=offered)
    with patch("panel.smtp.transport.RECEIVE", receive):
        outcomes, book = sent(planned, len(them), ride=ride)
    assert_sound(outcomes, planned, book)


@real_sockets
@given(st.lists(plans, min_size=1, max_size=4), st.booleans(), st.sampled_from([1, 5, None]), st.integers(1, 40))
def test_outcomes_do_not_depend_on_how_the_replies_are_cut(
    them: list[Plan], at_once: bool, pieces: int | None, receive: int
) -> None:
    whole = Planned(dict(enumerate(them)), at_once=True)
    cut = Planned(dict(enumerate(them)), at_once=at_once, pieces=pieces)
    expected, _ = sent(whole, len(them))
    with patch("panel.smtp.transport.RECEIVE", receive):
        outcomes, _ = sent(cut, len(them))
    # Whether a connection ends with a word of the network or without is a matter of timing.
    assert [replace(one, detail="") for one in outcomes] == [replace(one, detail="") for one in expected]
    assert cut.accepted == whole.accepted


@pytest.mark.parametrize("pieces", [None, 1])
@pytest.mark.parametrize("ride", [True, False])
def test_a_mix_over_tls(ride: bool, pieces: int | None) -> None:
    them = [
        Plan(), Plan(rcpt="550 no"), Plan(), Plan(dot="452 full"), Plan(mail="451 no", data_alone="354 go"),
        Plan(data="451 no"), Plan(), Plan(close_after=True), Plan(),
    ]  # fmt: skip
    planned = Planned(dict(enumerate(them)), pieces=pieces)
    outcomes, book = sent(planned, len(them), ride=ride, security="tls")
    assert_sound(outcomes, planned, book)
    assert planned.accepted == [0, 2, 6, 7]
    assert [outcome.stale for outcome in outcomes] == [False] * 8 + [True]
