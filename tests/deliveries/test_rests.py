"""A server that rests: when, for how long, what waits meanwhile, and how it begins again."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from sqlalchemy import select, update

from panel import db
from panel.deliveries import breaker, holds
from panel.deliveries.decide import decide
from panel.outbox.models import Delivery
from panel.servers import service as servers
from panel.servers.models import MailServer as Row
from panel.smtp.outcome import About, FailureCode, Outcome, Phase, Renewal, Verdict
from tests.deliveries.conftest import Post
from tests.deliveries.letters import waiting
from tests.support.mailserver import MailServer

MINUTE = dt.timedelta(minutes=1)
HOUR = dt.timedelta(hours=1)


def said(about: str, verdict: str = "temporary", **more: Any) -> Outcome:
    given = {"phase": Phase.MAIL, "failure": FailureCode.SERVER_BUSY, "code": 451, "reply": "451 not now", **more}
    return Outcome(verdict=Verdict(verdict), about=About(about), **given)


BUSY = said("server")
TAKEN = said("message", "accepted", failure=None, code=250, phase=Phase.FINAL_DOT)
SILENT = said("server", phase=Phase.CONNECT, failure=FailureCode.CONNECT_TIMEOUT, code=None, reply=None)


def note(post: Post, outcome: Outcome) -> None:
    """What a lane tells the breaker after an attempt by the route as it is."""
    with post.world.acme_scope():
        route = servers.route_of(post.address_id)
        decision = decide(outcome, attempts=0, trying=dt.timedelta(0), began=False, own_server=True)
        breaker.note(route, outcome, decision)


def row(post: Post) -> Row:
    with post.world.acme_scope():
        found = servers.for_address(post.address_id)
        assert found is not None
        return found


def left(post: Post) -> dt.timedelta:
    until = row(post).paused_until
    assert until is not None
    return until - db.now()


def over(post: Post) -> None:
    """As if the rest's time were over."""
    with db.system_scope("tests"), db.transaction() as session:
        session.execute(update(Row).values(paused_until=db.clock(-1)))


def states(post: Post) -> list[str]:
    with post.world.acme_scope():
        return list(db.session().scalars(select(Delivery.state).where(Delivery.kind != "system").order_by(Delivery.id)))


def mails(post: Post) -> list[Delivery]:
    with post.world.acme_scope():
        return list(db.session().scalars(select(Delivery).where(Delivery.kind == "system").order_by(Delivery.id)))


@pytest.fixture
def own(post: Post) -> Post:
    post.use(2525)
    return post


def test_five_failures_in_a_row_and_not_four(own: Post) -> None:
    for _ in range(4):
        note(own, BUSY)
    note(own, TAKEN)
    assert (row(own).state, row(own).failures_in_a_row) == ("ready", 0)
    for number in range(1, 6):
        assert row(own).state == "ready"
        note(own, BUSY)
        assert row(own).failures_in_a_row == number
    assert (row(own).state, row(own).paused_reason) == ("paused", "server")
    assert MINUTE * 0.9 < left(own) <= MINUTE
    assert row(own).last_error == "451 not now"


@pytest.mark.parametrize(
    "outcome",
    [
        SILENT,
        said("credentials", phase=Phase.AUTH, failure=FailureCode.AUTH_TEMPORARY, code=454),
        said("server", phase=Phase.AUTH, failure=FailureCode.PROTOCOL_ERROR, code=None),
        said("credentials", phase=Phase.AUTH, failure=FailureCode.AUTH_TEMPORARY, code=421),
    ],
    ids=["nobody answers the call", "the password cannot be checked", "it hung up at the password", "it said so there"],
)
def test_one_is_enough_where_trying_again_at_once_cannot_help_or_may_harm(own: Post, outcome: Outcome) -> None:
    note(own, outcome)
    assert (row(own).state, row(own).paused_reason) == ("paused", "server")
    assert MINUTE * 0.9 < left(own) <= MINUTE


def test_each_rest_is_twice_as_long_up_to_an_hour_and_a_success_begins_anew(own: Post) -> None:
    lengths = []
    note(own, SILENT)
    for _ in range(8):
        lengths.append(round(left(own) / MINUTE))
        over(own)
        own.world.tick()
        with own.world.acme_scope():
            servers.end_pauses()
        assert row(own).state == "ready"
        note(own, SILENT)
    assert lengths == [1, 2, 4, 8, 16, 32, 60, 60]
    over(own)
    with own.world.acme_scope():
        servers.end_pauses()
    note(own, TAKEN)
    note(own, SILENT)
    assert round(left(own) / MINUTE) == 1


def test_letters_that_were_on_their_way_when_it_began_to_rest_say_nothing_new(own: Post) -> None:
    with own.world.acme_scope():
        route = servers.route_of(own.address_id)
        decision = decide(BUSY, attempts=0, trying=dt.timedelta(0), began=False, own_server=True)
        for _ in range(9):
            breaker.note(route, BUSY, decision)
    assert row(own).failures_in_a_row == 5
    assert MINUTE * 0.9 < left(own) <= MINUTE


def test_a_letter_refused_for_its_own_sake_shows_that_the_server_works(own: Post) -> None:
    for _ in range(4):
        note(own, BUSY)
    note(own, said("recipient", "permanent", phase=Phase.RCPT, code=550))
    assert row(own).failures_in_a_row == 0


def test_a_short_rest_never_ends_a_longer_one_and_what_a_person_must_mend_ends_none(own: Post) -> None:
    note(own, said("quota", renews=Renewal.UNKNOWN))
    assert row(own).paused_reason == "quota"
    with own.world.acme_scope():
        route = servers.route_of(own.address_id)
        assert route.server_id is not None
        assert route.server_version is not None
        soon = db.now() + MINUTE
        assert not servers.pause(route.server_id, route.server_version, reason="server", until=soon, error="")
        assert servers.pause(route.server_id, route.server_version, reason="credentials", until=None, error="")
        assert not servers.pause(route.server_id, route.server_version, reason="server", until=soon, error="")
    assert (row(own).paused_reason, row(own).paused_until) == ("credentials", None)


def test_what_a_server_with_other_settings_by_now_did_is_not_held_against_it(own: Post) -> None:
    with own.world.acme_scope():
        old = servers.route_of(own.address_id)
    own.use(2526)
    refused = said("credentials", "permanent", phase=Phase.AUTH, code=535)
    decision = decide(refused, attempts=0, trying=dt.timedelta(0), began=False, own_server=True)
    with own.world.acme_scope():
        breaker.note(old, refused, decision)
    assert (row(own).state, row(own).failures_in_a_row) == ("ready", 0)


# ---- quotas


def sent_ago(post: Post, ago: dt.timedelta) -> None:
    """A letter that this server took so long ago."""
    with post.world.acme_scope(), db.transaction() as session:
        made = waiting(1)[0]
        session.execute(
            update(Delivery)
            .where(Delivery.id == made)
            .values(state="sent", server_id=row(post).id, sent_at=db.now() - ago, made_at=db.now() - ago)
        )


def test_a_daily_quota_renews_a_day_after_the_first_letter_of_the_window(own: Post) -> None:
    sent_ago(own, dt.timedelta(hours=30))
    sent_ago(own, dt.timedelta(hours=20))
    sent_ago(own, dt.timedelta(hours=1))
    note(own, said("quota", renews=Renewal.DAY))
    assert 3.9 * HOUR < left(own) <= 4 * HOUR
    assert mails(own) == []


@pytest.mark.parametrize(
    ("renews", "ago", "expected"),
    [
        (Renewal.DAY, dt.timedelta(hours=23, minutes=59), MINUTE * 15),
        (Renewal.HOUR, dt.timedelta(minutes=40), MINUTE * 20),
        (Renewal.HOUR, dt.timedelta(minutes=59), MINUTE * 5),
        (Renewal.HOUR, dt.timedelta(minutes=61), HOUR),
        (Renewal.DAY, dt.timedelta(hours=25), HOUR),
    ],
)
def test_it_is_not_asked_too_soon_and_without_letters_of_ours_it_guesses(
    own: Post, renews: Renewal, ago: dt.timedelta, expected: dt.timedelta
) -> None:
    sent_ago(own, ago)
    note(own, said("quota", renews=renews))
    assert expected - MINUTE < left(own) <= expected


def test_a_guess_doubles_up_to_a_day(own: Post) -> None:
    hours = []
    for _ in range(7):
        note(own, said("quota", renews=Renewal.UNKNOWN))
        hours.append(round(left(own) / HOUR))
        over(own)
        with own.world.acme_scope():
            servers.end_pauses()
    assert hours == [1, 2, 4, 8, 16, 24, 24]


def test_a_server_that_says_when_is_taken_at_its_word(own: Post) -> None:
    note(own, said("quota", renews=Renewal.DAY, come_back=1200.0))
    assert 19 * MINUTE < left(own) <= 20 * MINUTE


def test_a_limit_by_the_second_holds_nothing(own: Post) -> None:
    with own.world.acme_scope():
        waiting(3)
    before = db.now()
    note(own, said("quota", renews=Renewal.SECOND, code=454))
    after = db.now()
    own.world.tick()
    assert (row(own).state, row(own).failures_in_a_row) == ("ready", 0)
    waits_until = row(own).told_to_wait_until
    assert waits_until is not None
    assert before < waits_until <= after + dt.timedelta(seconds=5)
    assert states(own) == ["queued"] * 3
    assert mails(own) == []


def test_a_quota_fails_nobody_and_goes_on_by_itself(post: Post) -> None:
    full = True

    def answer(verb: str, _argument: str) -> str | None:
        return "550 5.4.5 Daily user sending limit exceeded." if full and verb == "DATA" else None

    with MailServer(answer=answer) as server:
        post.use(server)
        made = [post.welcome(f"p{number}@friends.test") for number in range(4)]
        post.send()
        post.world.tick()
        assert {post.get(one).state for one in made} == {"held"}
        assert {post.get(one).attempts for one in made} == {0}
        assert row(post).paused_reason == "quota"
        full = False
        over(post)
        post.world.tick()
        assert sorted(post.get(one).state for one in made) == ["held", "held", "held", "queued"]
        post.send()
        assert post.get(made[0]).state == "sent"
        post.send()
        server.wait_for(4)
    assert {post.get(one).state for one in made} == {"sent"}
    assert [one.recipients for one in post.platform.messages] == []


# ---- one letter tries


def test_when_a_rest_is_over_the_oldest_alone_tries_and_its_hold_goes_on(own: Post) -> None:
    with own.world.acme_scope():
        ids = waiting(5)
    note(own, SILENT)
    assert states(own) == ["held"] * 5
    held_at = own.get(ids[0]).held_at
    over(own)
    own.world.tick()
    own.world.tick()
    assert states(own) == ["queued", "held", "held", "held", "held"]
    assert own.get(ids[0]).held_at == held_at
    note(own, SILENT)
    own.world.tick()
    assert states(own) == ["held"] * 5
    assert own.get(ids[0]).held_at == held_at
    assert 1.9 * MINUTE < left(own) <= 2 * MINUTE


def test_a_success_frees_the_others_at_once_and_the_oldest_first(own: Post) -> None:
    with own.world.acme_scope():
        ids = waiting(5)
    note(own, SILENT)
    over(own)
    own.world.tick()
    note(own, TAKEN)
    assert states(own) == ["queued"] * 5
    with own.world.acme_scope():
        order = (Delivery.priority, Delivery.next_attempt_at, Delivery.id)
        wanted = select(Delivery.id).where(Delivery.kind != "system", Delivery.held_at.is_(None))
        assert list(db.session().scalars(wanted.order_by(*order))) == ids[1:]


def test_after_a_success_what_is_more_than_one_piece_follows_by_a_job(own: Post) -> None:
    with own.world.acme_scope():
        waiting(holds.PIECE + 50)
    note(own, SILENT)
    own.world.tick()
    over(own)
    own.world.tick()
    note(own, TAKEN)
    assert states(own).count("held") == 49
    own.world.work("housekeeping")
    assert set(states(own)) == {"queued"}


def test_what_waits_for_the_platforms_daily_limit_is_freed_as_far_as_there_is_room(post: Post) -> None:
    from panel.accounts import service as accounts

    with post.world.acme_scope():
        ids = waiting(10, state="held", reason="platform_limit", held_at=db.now())
    for limit, freed in ((0, 0), (3, 3)):
        with db.system_scope("tests"):
            accounts.limit_platform(post.world.acme, limit)
        post.world.tick()
        assert states(post).count("queued") == freed
    assert [post.get(one).state for one in ids[:3]] == ["queued"] * 3


def test_thousands_are_held_and_freed_in_pieces_that_keep_their_order(own: Post) -> None:
    with own.world.acme_scope():
        ids = waiting(2 * holds.PIECE + 100)
    note(own, SILENT)
    assert states(own).count("held") == holds.PIECE
    own.world.tick()
    assert set(states(own)) == {"held"}
    with own.world.acme_scope(), db.transaction():
        servers.resume(row(own).id)
    own.world.tick()
    assert set(states(own)) == {"queued"}
    with own.world.acme_scope():
        order = (Delivery.priority, Delivery.next_attempt_at, Delivery.id)
        freed = list(db.session().scalars(select(Delivery.id).where(Delivery.kind != "system").order_by(*order)))
    assert freed == ids


def test_what_is_not_due_or_claimed_or_the_systems_own_is_left_alone(own: Post) -> None:
    with own.world.acme_scope():
        ids = waiting(3)
        with db.transaction() as session:
            session.execute(update(Delivery).where(Delivery.id == ids[0]).values(next_attempt_at=db.clock(60)))
            session.execute(update(Delivery).where(Delivery.id == ids[1]).values(lease_until=db.clock(60)))
    note(own, SILENT)
    own.world.tick()
    assert states(own) == ["queued", "queued", "held"]
    assert {one.state for one in mails(own)} == {"queued"}


def test_a_suspended_account_is_held_as_a_whole_and_freed_in_order(own: Post) -> None:
    from panel.accounts import service as accounts

    with own.world.acme_scope():
        waiting(holds.PIECE + 10)
    with db.system_scope("tests"):
        accounts.suspend(own.world.acme, suspended=True)
    own.world.tick()
    assert set(states(own)) == {"held"}
    with db.system_scope("tests"):
        accounts.suspend(own.world.acme, suspended=False)
    own.world.tick()
    assert set(states(own)) == {"queued"}


@pytest.mark.parametrize("ahead", [-HOUR, HOUR])
def test_a_host_whose_clock_is_wrong_lets_nobody_rest_longer(
    own: Post, ahead: dt.timedelta, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = db.now
    monkeypatch.setattr(db, "now", lambda: right() + ahead)
    for _ in range(5):
        note(own, BUSY)
    until = row(own).paused_until
    assert until is not None
    assert abs(until - right() - MINUTE) < MINUTE / 2
    note(own, said("quota", renews=Renewal.MINUTE))
    until = row(own).told_to_wait_until
    assert until is not None
    assert abs(until - right() - MINUTE) < MINUTE / 2


def test_saving_ends_a_rest_that_began_after_the_row_was_read(own: Post) -> None:
    with own.world.acme_scope():
        read = servers.for_address(own.address_id)
        assert read is not None
        assert read.state == "ready"
        with db.engine().begin() as elsewhere:
            elsewhere.execute(update(Row).values(state="paused", paused_reason="server", failures_in_a_row=5))
        entry = servers.Entry(
            preset="other", host="127.0.0.1", port=2525, security="none", auth="auto", username="", password=""
        )
        servers.save(own.address_id, entry, servers.By())
    found = row(own)
    assert (found.state, found.paused_reason, found.failures_in_a_row) == ("ready", None, 0)
