"""What becomes of a delivery, and of its server, after each kind of answer."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from panel.deliveries.decide import GIVE_UP_AFTER, decide, pause_length, trying_time, wait_after
from panel.smtp.outcome import About, FailureCode, Outcome, Phase, Renewal, Verdict

NONE = dt.timedelta(0)
NOW = dt.datetime(2026, 5, 4, 12, tzinfo=dt.UTC)


def outcome(verdict: str, about: str, **more: Any) -> Outcome:
    given = {"phase": Phase.RCPT, "failure": FailureCode.SERVER_BUSY, "code": 450, **more}
    return Outcome(verdict=Verdict(verdict), about=About(about), **given)


def of(one: Outcome, *, attempts: int = 0, trying: dt.timedelta = NONE, began: bool = False, own: bool = True) -> Any:
    return decide(one, attempts=attempts, trying=trying, began=began, own_server=own)


@pytest.mark.parametrize(
    ("attempts", "seconds"),
    [(0, 60), (1, 300), (2, 900), (3, 1800), (4, 3600), (5, 7200), (6, 14_400), (7, 14_400), (60, 14_400)],
)
def test_a_recipient_who_cannot_now_is_asked_by_the_schedule(attempts: int, seconds: float) -> None:
    waits = [of(outcome("temporary", "recipient"), attempts=attempts) for _ in range(50)]
    assert {one.state for one in waits} == {"deferred"}
    assert all(one.spent for one in waits)
    assert all(seconds <= one.wait <= seconds * 1.1 for one in waits)
    assert len({one.wait for one in waits}) > 1


def test_the_waits_grow_by_chance_by_a_tenth_at_the_most() -> None:
    waits = [wait_after(0) for _ in range(2000)]
    assert 60 <= min(waits) < 60.6
    assert 65.4 < max(waits) <= 66


def test_a_server_that_says_when_is_not_asked_before() -> None:
    assert of(outcome("temporary", "recipient", come_back=1200.0)).wait == 1200


def test_it_is_given_up_after_72_hours_of_its_own_trying() -> None:
    late = outcome("temporary", "message")
    assert of(late, attempts=30, trying=GIVE_UP_AFTER).state == "deferred"
    gone = of(late, attempts=30, trying=GIVE_UP_AFTER + dt.timedelta(seconds=1))
    assert (gone.state, gone.reason) == ("failed", "gave_up")
    # What is not about the letter does not end it, however long it has been trying.
    assert of(outcome("temporary", "server"), trying=dt.timedelta(days=30)).state == "deferred"


def test_its_own_trying_leaves_holds_out() -> None:
    def ago(hours: int) -> dt.datetime:
        return NOW - dt.timedelta(hours=hours)

    assert trying_time(since=None, held_at=None, now=NOW) == NONE
    assert trying_time(since=ago(5), held_at=None, now=NOW) == dt.timedelta(hours=5)
    assert trying_time(since=ago(5), held_at=ago(3), now=NOW) == dt.timedelta(hours=2)
    assert trying_time(since=ago(3), held_at=ago(5), now=NOW) == NONE


@pytest.mark.parametrize(
    ("one", "state", "reason", "pause"),
    [
        (outcome("permanent", "recipient"), "failed", "server_busy", None),
        (outcome("permanent", "message"), "failed", "server_busy", None),
        (outcome("temporary", "server"), "deferred", "server_busy", "server"),
        (outcome("permanent", "server"), "deferred", "server_busy", "server"),
        (outcome("permanent", "credentials", phase=Phase.AUTH), "held", "credentials", "credentials"),
        (outcome("temporary", "credentials", phase=Phase.AUTH), "deferred", "server_busy", "server"),
        (outcome("permanent", "sender"), "held", "sender_refused", "sender_refused"),
        (outcome("temporary", "sender"), "deferred", "server_busy", "server"),
        (outcome("temporary", "quota", renews=Renewal.DAY), "held", "quota", "quota"),
        (outcome("temporary", "quota", renews=Renewal.UNKNOWN), "held", "quota", "quota"),
        (outcome("temporary", "quota", renews=Renewal.SECOND), "deferred", "quota", "rate"),
        (outcome("temporary", "quota", renews=Renewal.MINUTE), "deferred", "quota", "rate"),
        (outcome("temporary", "quota", renews=Renewal.DAY, come_back=30.0), "deferred", "quota", "rate"),
        (
            outcome("permanent", "server", phase=Phase.RESOLVE, failure=FailureCode.DESTINATION_NOT_ALLOWED, code=None),
            "held",
            "destination_not_allowed",
            "destination_not_allowed",
        ),
        (
            outcome("permanent", "credentials", phase=Phase.CLOSED, failure=FailureCode.AUTH_FAILED, code=None),
            "held",
            "password_unreadable",
            "password_unreadable",
        ),
        (outcome("not_sent", "server", failure=FailureCode.CANCELED, code=None), "deferred", "interrupted", None),
    ],
)
def test_an_own_server_rests_for_its_own_sake_and_the_letter_spends_nothing(
    one: Outcome, state: str, reason: str, pause: str | None
) -> None:
    found = of(one)
    assert (found.state, found.reason, found.pause) == (state, reason, pause)
    assert found.spent is (state == "failed")


@pytest.mark.parametrize("about", ["server", "credentials", "sender", "quota"])
def test_the_platform_server_is_never_paused(about: str) -> None:
    found = of(outcome("permanent", about), own=False)
    assert (found.state, found.wait, found.spent, found.pause) == ("deferred", 60, False, None)


def test_what_broke_after_the_body_began_goes_back_to_its_queue() -> None:
    broke = outcome("not_sent", "server", phase=Phase.BODY, failure=FailureCode.PROTOCOL_ERROR, code=None)
    assert of(broke, began=True).state == "queued"
    assert of(broke, began=False).state == "deferred"


@pytest.mark.parametrize(
    ("failure", "own", "pause"),
    [
        (FailureCode.PROTOCOL_ERROR, True, "server"),
        (FailureCode.TIMED_OUT, True, "server"),
        (FailureCode.CANCELED, True, None),
        (FailureCode.PROTOCOL_ERROR, False, None),
    ],
)
def test_silence_after_the_final_dot_is_uncertain_and_counts_against_an_own_server(
    failure: FailureCode, own: bool, pause: str | None
) -> None:
    silent = outcome("unknown", "server", phase=Phase.FINAL_DOT, failure=failure, code=None)
    found = of(silent, began=True, own=own)
    assert (found.state, found.reason, found.pause) == ("uncertain", "no_reply", pause)


def test_it_rests_for_1_2_4_and_at_most_60_minutes() -> None:
    assert [pause_length(failures) / 60 for failures in range(5, 13)] == [1, 2, 4, 8, 16, 32, 60, 60]
    assert pause_length(5_000) == 3600


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize("verdict", ["temporary", "permanent"])
def test_a_letter_that_alone_is_refused_waits_and_ends_as_for_its_recipient(verdict: str, own: bool) -> None:
    one = outcome(verdict, "server", phase=Phase.FINAL_DOT)
    found = decide(one, attempts=1, trying=NONE, began=True, own_server=own, misfit=True)
    assert (found.state, found.spent, found.pause) == ("deferred", True, None)
    assert found.wait is not None
    assert 300 <= found.wait <= 330
    late = GIVE_UP_AFTER + dt.timedelta(seconds=1)
    assert decide(one, attempts=9, trying=late, began=True, own_server=own, misfit=True).state == "failed"
