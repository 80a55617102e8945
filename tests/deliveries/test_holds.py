"""How long a hold may be, whose time it is, and what the owner is told of it."""

from __future__ import annotations

import datetime as dt
import zoneinfo
from typing import Any

import pytest
from sqlalchemy import select, update

from panel import db
from panel.accounts import service as accounts
from panel.crypto import new_key
from panel.outbox.models import Delivery
from panel.servers import service as servers
from panel.servers.models import MailServer as Row
from panel.smtp.outcome import About, FailureCode, Outcome, Phase, Verdict
from tests.deliveries.conftest import Post
from tests.deliveries.letters import waiting
from tests.deliveries.test_rests import SILENT, TAKEN, mails, note, over, row, states
from tests.support.mailserver import MailServer
from tests.support.world import KEYS

DAY, HOUR = 86_400.0, 3_600.0


def age_holds(post: Post, days: float) -> None:
    """As if what is held had been so for that many days longer, and the owner been told then."""
    moved = dt.timedelta(days=days)
    with db.system_scope("tests"), db.transaction() as session:
        for delivery in session.scalars(select(Delivery).where(Delivery.held_at.is_not(None))):
            assert delivery.held_at is not None
            delivery.held_at -= moved
            delivery.made_at -= moved
            if delivery.trying_since is not None:
                delivery.trying_since -= moved


def values(delivery_id: int, **row: Any) -> None:
    with db.system_scope("tests"), db.transaction() as session:
        session.execute(update(Delivery).where(Delivery.id == delivery_id).values(**row))


def ids(post: Post) -> list[int]:
    with post.world.acme_scope():
        return list(db.session().scalars(select(Delivery.id).where(Delivery.kind != "system").order_by(Delivery.id)))


def subjects(post: Post) -> list[str]:
    return [one.values["subject"] for one in mails(post)]


@pytest.fixture
def held(post: Post) -> Post:
    """Three letters that are held, as nobody answers the call."""
    post.use(2525)
    with post.world.acme_scope():
        waiting(3)
    note(post, SILENT)
    assert states(post) == ["held"] * 3
    return post


def test_a_hold_ends_after_seven_days_however_often_it_was_tried(held: Post) -> None:
    age_holds(held, 6.9)
    for _ in range(3):
        over(held)
        held.world.tick()
        assert states(held) == ["queued", "held", "held"]
        note(held, SILENT)
        held.world.tick()
        assert states(held) == ["held"] * 3
    age_holds(held, 0.2)
    held.world.tick()
    assert states(held) == ["expired"] * 3
    with held.world.acme_scope():
        assert set(db.session().scalars(select(Delivery.reason).where(Delivery.state == "expired"))) == {
            "held_too_long"
        }


def test_a_server_that_took_a_letter_since_ends_the_hold(held: Post) -> None:
    age_holds(held, 6)
    over(held)
    held.world.tick()
    note(held, Outcome(verdict=Verdict.ACCEPTED, about=About.MESSAGE, phase=Phase.FINAL_DOT, code=250))
    note(held, SILENT)
    held.world.tick()
    assert states(held) == ["held"] * 3
    age_holds(held, 2)
    held.world.tick()
    # The first was never freed with the others: it was on its way to try.
    assert states(held) == ["expired", "held", "held"]


def test_the_owner_is_told_a_day_before_and_once(held: Post) -> None:
    assert subjects(held) == ["Your mail server for hello@acme.test needs a look"]
    age_holds(held, 5.9)
    held.world.tick()
    assert len(mails(held)) == 1
    age_holds(held, 0.2)
    with db.system_scope("tests"), db.transaction() as session:
        session.execute(update(accounts.Account).values(time_zone="Europe/Berlin"))
    for _ in range(3):
        held.world.tick()
    [_, warning] = mails(held)
    assert warning.to_address == "owner@acme.test"
    first = held.get(ids(held)[0]).held_at
    assert first is not None
    ends = (first + dt.timedelta(days=7)).astimezone(zoneinfo.ZoneInfo("Europe/Berlin"))
    assert f"{ends:%d %B %Y}".lstrip("0") in warning.values["text"]
    assert "3 letters have been waiting" in warning.values["text"]
    assert "(Europe/Berlin)" in warning.values["text"]
    assert f"/settings/email/{held.address_id}/server" in warning.values["text"]
    page = held.world.client(held.world.owner).get("/campaigns").get_data(as_text=True)
    assert "The first letters expire on" in page


def test_its_own_trying_time_leaves_the_hold_out(held: Post) -> None:
    since = db.now() - dt.timedelta(hours=10)
    moved, plain, _ = ids(held)
    values(moved, trying_since=since, held_at=db.now() - dt.timedelta(hours=4))
    with held.world.acme_scope(), db.transaction():
        servers.resume(row(held).id)
    held.world.tick()
    found = held.get(moved)
    assert (found.state, found.held_at) == ("queued", None)
    assert found.trying_since is not None
    assert abs(found.trying_since - (since + dt.timedelta(hours=4))) < dt.timedelta(seconds=20)
    assert held.get(plain).trying_since is None


def test_the_first_refusal_begins_its_own_trying_and_no_later_one_does(post: Post) -> None:
    left = ["451 4.2.1 busy", "451 4.2.1 busy"]
    with MailServer(answer=lambda verb, _: left.pop() if verb == "RCPT" and left else None) as own:
        post.use(own)
        welcome = post.welcome()
        post.send()
        first = post.get(welcome).trying_since
        assert first is not None
        post.due_now()
        post.send()
        again = post.get(welcome).trying_since
        assert again is not None
        assert again - first < dt.timedelta(seconds=10)  # by as long as it was due and waited
        assert post.get(welcome).attempts == 2


def test_days_in_which_its_next_try_was_due_and_waited_for_a_limit_are_left_out(post: Post) -> None:
    with MailServer(answer=lambda verb, _: "451 4.2.1 busy" if verb == "RCPT" else None) as own:
        post.use(own)
        welcome = post.welcome()
        post.send()
        # Refused once, four days ago; its place came only now, as its server takes so many a day.
        due = db.now() - dt.timedelta(hours=95)
        values(welcome, trying_since=due - dt.timedelta(minutes=1), next_attempt_at=due)
        post.send()
        found = post.get(welcome)
        assert (found.state, found.attempts) == ("deferred", 2)
        assert found.trying_since is not None
        assert db.now() - found.trying_since < dt.timedelta(minutes=2)


def test_72_hours_of_its_own_trying_are_enough(post: Post) -> None:
    with MailServer(answer=lambda verb, _: "451 4.2.1 busy" if verb == "RCPT" else None) as own:
        post.use(own)
        welcome, other = post.welcome(), post.welcome("other@friends.test")
        post.send()
        values(welcome, trying_since=db.now() - dt.timedelta(hours=72, seconds=5))
        values(other, trying_since=db.now() - dt.timedelta(hours=90), held_at=db.now() - dt.timedelta(hours=19))
        post.due_now()
        post.send()
    assert (post.get(welcome).state, post.get(welcome).reason) == ("failed", "gave_up")
    # It was held for 19 of the 90 hours.
    assert (post.get(other).state, post.get(other).held_at) == ("deferred", None)


def test_a_letter_that_would_come_too_late_ends_though_it_is_held(held: Post) -> None:
    late = ids(held)[1]
    values(late, expires_at=db.now() - dt.timedelta(seconds=1))
    held.world.tick()
    assert states(held) == ["held", "expired", "held"]
    assert held.get(late).reason == "too_late_to_be_of_use"


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [
        (SILENT, "server"),
        (
            Outcome(
                verdict=Verdict.PERMANENT, about=About.CREDENTIALS, phase=Phase.AUTH, failure=FailureCode.AUTH_FAILED,
                code=535, reply="535 no",
            ),
            "credentials",
        ),
        (
            Outcome(
                verdict=Verdict.PERMANENT, about=About.SENDER, phase=Phase.MAIL, failure=FailureCode.SENDER_REFUSED,
                code=550, reply="550 no",
            ),
            "sender_refused",
        ),
        (
            Outcome(
                verdict=Verdict.TEMPORARY, about=About.QUOTA, phase=Phase.FINAL_DOT, failure=FailureCode.SERVER_BUSY,
                code=550, reply="550 5.4.5 no",
            ),
            "quota",
        ),
    ],
    ids=["server", "credentials", "sender", "quota"],
)  # fmt: skip
def test_the_platform_server_stands_in_only_where_the_owner_chose_so(post: Post, outcome: Outcome, reason: str) -> None:
    with MailServer() as own:
        post.use(own)
        note(post, outcome)
        assert row(post).paused_reason == reason
        welcome = post.welcome()
        post.send()
        post.world.tick()
        post.send()
        assert post.get(welcome).state == "held"
        with post.world.acme_scope():
            servers.choose_fallback(post.address_id, fallback=True, by=servers.By())
        post.world.tick()
        post.send()
        assert (post.get(welcome).state, post.get(welcome).server_id) == ("sent", None)
        assert [one.server for one in post.attempts(welcome)] == ["platform server"]
        assert own.messages == []
        with post.world.acme_scope(), db.transaction():
            servers.resume(row(post).id)
        again = post.join("again@friends.test")[0]
        post.send()
        own.wait_for(1)
        assert [one.server for one in post.attempts(again)] == [f"127.0.0.1:{own.port}"]


def test_a_password_that_no_key_opens_holds_and_asks_for_it_and_goes_on_when_the_key_is_back(post: Post) -> None:
    with MailServer(username="u", password="right") as own:
        post.use(own, username="u", password="right")
        post.world.reconfigure(OWNPOST_ENCRYPTION_KEYS=new_key())
        welcome = post.welcome()
        post.send()
        assert (post.get(welcome).state, post.get(welcome).reason) == ("held", "password_unreadable")
        assert own.sign_ins == 0
        assert (row(post).paused_reason, row(post).paused_until) == ("password_unreadable", None)
        assert "please enter it again" in mails(post)[0].values["text"]
        page = post.world.client(post.world.owner).get("/deliveries").get_data(as_text=True)
        assert "Its stored password can no longer be read. Enter it again" in page
        post.world.tick()
        assert post.get(welcome).state == "held"
        post.world.reconfigure(OWNPOST_ENCRYPTION_KEYS=KEYS)
        post.world.tick()
        post.send()
        own.wait_for(1)
    assert post.get(welcome).state == "sent"
    assert len(mails(post)) == 1


def told_ago(seconds: float) -> None:
    """As if the owner had last been told of an outage so many seconds ago."""
    with db.system_scope("tests"), db.transaction() as session:
        session.execute(update(Row).values(owner_told_at=db.clock(-seconds)))


def tried_again(post: Post, outcome: Outcome) -> None:
    """Its rest is over, and this comes of the one letter that tries it."""
    over(post)
    with post.world.acme_scope():
        servers.end_pauses()
    note(post, outcome)


def test_a_server_that_works_and_fails_by_turns_is_told_of_once_a_day(held: Post) -> None:
    def again() -> None:
        tried_again(held, TAKEN)
        note(held, SILENT)
        assert row(held).state == "paused"

    again()
    again()
    assert len(mails(held)) == 1
    told_ago(DAY + 1)
    again()
    assert len(mails(held)) == 2


def test_an_outage_is_told_whenever_it_comes_after_one_that_is_over(held: Post) -> None:
    tried_again(held, TAKEN)
    told_ago(60 * DAY)
    note(held, SILENT)
    assert row(held).state == "paused"
    assert len(mails(held)) == 2


def test_an_outage_that_begins_within_the_day_is_told_when_that_is_over_if_it_lasts(held: Post) -> None:
    tried_again(held, TAKEN)
    told_ago(5 * HOUR)
    note(held, SILENT)
    tried_again(held, SILENT)
    assert len(mails(held)) == 1
    told_ago(DAY + 1)
    tried_again(held, SILENT)
    assert len(mails(held)) == 2
    tried_again(held, SILENT)
    assert len(mails(held)) == 2


def test_an_outage_that_lasts_is_told_once_a_week(held: Post) -> None:
    told_ago(6 * DAY)
    tried_again(held, SILENT)
    assert len(mails(held)) == 1
    told_ago(7 * DAY + 1)
    tried_again(held, SILENT)
    assert len(mails(held)) == 2


def test_settings_that_pass_the_test_free_all_at_once(held: Post) -> None:
    held.use(2526)
    assert row(held).state == "ready"
    held.world.work("housekeeping")
    assert states(held) == ["queued"] * 3


def test_what_a_person_has_to_mend_is_told_whatever_was_told_before(held: Post) -> None:
    refused = Outcome(
        verdict=Verdict.PERMANENT, about=About.CREDENTIALS, phase=Phase.AUTH, failure=FailureCode.AUTH_FAILED,
        code=535, reply="535 no",
    )  # fmt: skip

    def told() -> list[str]:
        return [one.values["text"].partition(":")[2].partition(".")[0].strip() for one in mails(held)]

    passes, credentials = "it could not be reached or did not work", "it refused the user name or password"
    assert told() == [passes]
    over(held)
    with held.world.acme_scope():
        servers.end_pauses()
    note(held, Outcome(verdict=Verdict.ACCEPTED, about=About.MESSAGE, phase=Phase.FINAL_DOT, code=250))
    note(held, refused)
    note(held, refused)
    assert row(held).paused_reason == "credentials"
    assert told() == [passes, credentials]
    held.use(2525)
    note(held, refused)
    assert told() == [passes, credentials, credentials]


def test_a_sender_that_is_refused_while_a_server_is_tried_again_is_told(held: Post) -> None:
    over(held)
    with held.world.acme_scope():
        servers.end_pauses()
    note(
        held,
        Outcome(
            verdict=Verdict.PERMANENT, about=About.SENDER, phase=Phase.MAIL, failure=FailureCode.SENDER_REFUSED,
            code=550, reply="550 no",
        ),
    )  # fmt: skip
    assert row(held).paused_reason == "sender_refused"
    assert len(mails(held)) == 2
