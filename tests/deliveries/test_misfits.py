"""One letter that its server never takes, in words about itself, stops nobody."""

from __future__ import annotations

import datetime as dt

import pytest
from sqlalchemy import select

from panel import db
from panel.deliveries.decide import GIVE_UP_AFTER
from panel.outbox.models import Delivery
from tests.deliveries.conftest import Post
from tests.deliveries.letters import waiting
from tests.deliveries.test_rests import over, row
from tests.support.mailserver import MailServer

BAD = "bad@friends.test"


def refuse(verb: str, reply: str) -> MailServer:
    """Takes every letter but those to BAD."""
    return MailServer(answer=lambda asked, argument: reply if asked == verb and argument == BAD else None)


def held(post: Post) -> list[str]:
    with post.world.acme_scope():
        wanted = select(Delivery.to_address).where(Delivery.state == "held", Delivery.kind != "system")
        return list(db.session().scalars(wanted))


@pytest.mark.parametrize(
    ("verb", "reply"),
    [
        ("RCPT", "451 4.3.0 <bad@friends.test>: Temporary lookup failure"),
        ("DATA", "451 4.3.0 Mail server temporarily rejected message."),
        ("DATA", "554 5.3.5 System incorrectly configured"),
    ],
)
def test_after_three_times_it_is_the_letters_own_and_ends_after_72_hours(post: Post, verb: str, reply: str) -> None:
    with refuse(verb, reply) as own:
        post.use(own)
        bad = post.welcome(BAD)
        post.send()
        assert (post.get(bad).state, post.get(bad).attempts) == ("deferred", 0)
        good = post.welcome("good@friends.test")
        for attempts in (0, 1, 2):
            post.due_now()
            post.send()
            assert (post.get(bad).state, post.get(bad).attempts) == ("deferred", attempts)
        assert post.get(good).state == "sent"
        assert post.get(bad).trying_since is not None
        assert row(post).state == "ready"
        with db.system_scope("tests"), db.transaction() as session:
            found = session.get_one(Delivery, bad)
            found.trying_since = db.now() - GIVE_UP_AFTER - dt.timedelta(minutes=1)
        post.due_now()
        post.send()
    assert (post.get(bad).state, post.get(bad).reason) == ("failed", "gave_up")
    assert held(post) == []


def test_a_server_that_takes_nothing_else_is_not_blamed_on_the_letter(post: Post) -> None:
    with refuse("RCPT", "451 4.3.0 Temporary lookup failure") as own:
        post.use(own)
        post.welcome("good@friends.test")
        post.send()  # before the first of them
        bad = post.welcome(BAD)
        for _ in range(5):
            post.due_now()
            post.send()
        assert (post.get(bad).state, post.get(bad).attempts) == ("deferred", 0)
        assert (row(post).state, row(post).paused_reason) == ("paused", "server")


def test_another_letter_tries_a_server_that_rested_for_it(post: Post) -> None:
    with refuse("RCPT", "451 4.3.0 Temporary lookup failure") as own:
        post.use(own)
        bad = post.welcome(BAD)
        for _ in range(5):
            post.due_now()
            post.send()
        assert row(post).state == "paused"
        good = [post.welcome(f"good{number}@friends.test") for number in range(3)]
        post.world.tick()
        assert len(held(post)) == 3  # the other waits for 15 seconds
        post.due_now()
        post.world.tick()
        assert len(held(post)) == 4
        over(post)
        post.world.tick()
        assert BAD in held(post)
        post.send()
        post.send()
    assert {post.get(one).state for one in good} == {"sent"}
    assert (post.get(bad).state, post.get(bad).attempts) == ("deferred", 1)


@pytest.mark.parametrize("reply", ["451 4.3.0 later", "550 5.7.1 You are not permitted to send as this sender"])
def test_it_ends_by_the_platforms_server_too(post: Post, reply: str) -> None:
    post.platform.answer = lambda verb, argument: reply if verb == "RCPT" and argument == BAD else None
    bad = post.welcome(BAD)
    post.send()
    post.welcome("good@friends.test")
    for attempts in (0, 1):
        post.due_now()
        post.send()
        assert post.get(bad).attempts == attempts


def test_a_quota_of_the_platforms_server_ends_nobodys_letter(post: Post) -> None:
    reply = "454 4.7.0 Throttling failure: Daily message quota exceeded."
    post.platform.answer = lambda verb, argument: reply if verb == "RCPT" and argument == BAD else None
    bad = post.welcome(BAD)
    post.send()
    post.welcome("good@friends.test")
    for _ in range(4):
        post.due_now()
        post.send()
    assert (post.get(bad).state, post.get(bad).attempts) == ("deferred", 0)


def test_what_another_account_sent_shows_that_the_platforms_server_works(post: Post) -> None:
    post.platform.answer = lambda verb, argument: "451 4.3.0 later" if verb == "RCPT" and argument == BAD else None
    bad = post.welcome(BAD)
    for _ in range(3):
        post.due_now()
        post.send()
    assert post.get(bad).attempts == 0
    with post.world.app.app_context(), db.account_scope(post.world.other.id):
        waiting(1, state="sent", sent_at=db.now())
    post.due_now()
    post.send()
    assert post.get(bad).attempts == 1


@pytest.mark.parametrize("reply", ["501 Invalid RCPT TO address provided", "553 5.0.0 no such mailbox name"])
def test_an_address_that_is_none_to_the_server_fails_at_once(post: Post, reply: str) -> None:
    with refuse("RCPT", reply) as own:
        post.use(own)
        bad = post.welcome(BAD)
        post.send()
    assert (post.get(bad).state, post.get(bad).reason) == ("failed", "recipient_refused")
