"""What an account may send in a day by the platform's server: counted by when letters went, over all workers."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

import pytest
from sqlalchemy import select, update

from panel import db
from panel.accounts import service as accounts
from panel.deliveries import allowance, claims, parcels
from panel.deliveries import service as deliveries
from panel.deliveries.claims import LaneKey
from panel.outbox.models import Attempt, Delivery
from panel.servers import service as servers
from tests.deliveries.conftest import Post
from tests.deliveries.letters import waiting
from tests.deliveries.test_holds import age_holds
from tests.deliveries.test_rests import SILENT, mails, note, states
from tests.support.mailserver import MailServer


def limit(post: Post, per_day: int) -> None:
    with db.system_scope("tests"):
        accounts.limit_platform(post.world.acme, per_day)


def earlier(post: Post, hours: float, *which: str) -> None:
    """As if everything until now had happened so much earlier."""
    with db.system_scope("tests"), db.transaction() as session:
        for one in session.scalars(select(Delivery)):
            for name in which:
                at = getattr(one, name)
                if at is not None:
                    setattr(one, name, at - dt.timedelta(hours=hours))


def rounds(post: Post, count: int = 3) -> None:
    for _ in range(count):
        post.world.tick()
        post.send()


def test_letters_that_were_made_long_ago_take_room_when_they_go(post: Post) -> None:
    limit(post, 2)
    made = [post.welcome(f"p{number}@friends.test") for number in range(6)]
    earlier(post, 25, "made_at")
    post.send()
    assert sorted(post.get(one).state for one in made) == ["held"] * 4 + ["sent"] * 2
    rounds(post)
    assert len(post.platform.messages) == 2


def test_room_is_back_a_day_after_letters_went(post: Post) -> None:
    limit(post, 2)
    made = [post.welcome(f"p{number}@friends.test") for number in range(5)]
    post.send()
    earlier(post, 23.9, "sent_at")
    rounds(post)
    assert len(post.platform.messages) == 2
    earlier(post, 0.2, "sent_at")
    rounds(post)
    assert len(post.platform.messages) == 4
    assert [post.get(one).state for one in made] == ["sent"] * 4 + ["held"]


def test_a_letter_of_which_nobody_knows_takes_room_too(post: Post) -> None:
    limit(post, 2)
    made = [post.welcome(f"p{number}@friends.test") for number in range(3)]
    post.send()
    with db.system_scope("tests"), db.transaction() as session:
        session.execute(update(Delivery).where(Delivery.id == made[0]).values(state="uncertain", sent_at=None))
    rounds(post)
    assert post.get(made[2]).state == "held"


@pytest.mark.parametrize("done", [deliveries.mark_as_sent, deliveries.resend], ids=["marked as sent", "sent again"])
def test_what_a_person_does_about_it_gives_no_room_back(post: Post, done: Callable[[int], Delivery]) -> None:
    limit(post, 2)
    made = [post.welcome(f"p{number}@friends.test") for number in range(3)]
    post.send()
    with db.system_scope("tests"), db.transaction() as session:
        session.execute(update(Delivery).where(Delivery.id == made[0]).values(state="uncertain", sent_at=None))
    with post.world.acme_scope():
        of_old = done(made[0]).id == made[0]
    rounds(post, 1)
    assert len(post.platform.messages) == 2
    assert post.get(made[2]).state == "held"
    [attempt] = post.attempts(made[0])
    assert post.get(made[0]).sent_at == (attempt.started_at if of_old else None)
    with db.system_scope("tests"), db.transaction() as session:
        session.execute(update(Attempt).values(started_at=db.clock(-86_401)))
        if of_old:
            session.execute(update(Delivery).where(Delivery.id == made[0]).values(sent_at=db.clock(-86_401)))
    rounds(post, 1)
    assert len(post.platform.messages) == 3


@pytest.mark.parametrize("at_once", [False, True])
def test_two_workers_never_have_the_same_room(post: Post, at_once: bool) -> None:
    limit(post, 3)
    for number in range(8):
        post.welcome(f"p{number}@friends.test")
    key = LaneKey(post.world.acme.id, None)
    with post.world.acme_scope():
        one = claims.claim(key, owner="one", limit=4, lease=60)
        two = claims.claim(key, owner="two", limit=4, lease=60) if at_once else []
        made = parcels.make(key, one, platform_from=post.world.settings.platform_from)
        two = two or claims.claim(key, owner="two", limit=4, lease=60)
        made += parcels.make(key, two, platform_from=post.world.settings.platform_from)
        assert (len(one), len(two)) == (4, 4)
        assert len(made) == 3
        claims.release([parcel.claim for parcel in made])
    rounds(post)
    assert len(post.platform.messages) == 3


def test_three_workers_that_send_at_once_keep_to_it_together_and_use_it_up(post: Post) -> None:
    limit(post, 12)
    for number in range(60):
        post.welcome(f"p{number}@friends.test")
    post.send_at_once(3)
    assert len(post.platform.messages) <= 12
    rounds(post)
    assert len(post.platform.messages) == 12
    assert states(post).count("held") == 48


def test_what_another_address_sends_by_a_server_of_its_own_takes_no_room(post: Post) -> None:
    limit(post, 1)
    with MailServer() as own:
        post.use(own)
        letters = [post.welcome(f"p{number}@friends.test") for number in range(3)]
        with post.world.acme_scope():
            claims.claim(LaneKey(post.world.acme.id, None), owner="another", limit=3, lease=60)
            assert allowance.left() == 1
        assert {post.get(one).state for one in letters} == {"queued"}


def test_what_waits_for_its_turn_never_expires_and_nobody_is_warned(post: Post) -> None:
    limit(post, 1)
    made = [post.welcome(f"p{number}@friends.test") for number in range(3)]
    post.send()
    age_holds(post, 30)
    post.world.tick()
    assert [post.get(one).state for one in made] == ["sent", "held", "held"]
    assert mails(post) == []


def test_what_waits_for_trouble_to_end_says_so_and_its_hold_begins_then(post: Post) -> None:
    limit(post, 0)
    post.use(2525)
    with post.world.acme_scope():
        one = waiting(1, state="held", reason="platform_limit", held_at=db.now() - dt.timedelta(days=30))[0]
        servers.disable(post.address_id, servers.By())
    post.world.tick()
    assert (post.get(one).state, post.get(one).reason) == ("held", "platform_limit")
    with db.system_scope("tests"):
        accounts.suspend(post.world.acme, suspended=True)
    post.world.tick()
    held = post.get(one)
    assert (held.state, held.reason) == ("held", "account_suspended")
    assert held.held_at is not None
    assert db.now() - held.held_at < dt.timedelta(minutes=1)
    with db.system_scope("tests"):
        accounts.suspend(post.world.acme, suspended=False)
    post.world.tick()
    assert (post.get(one).state, post.get(one).reason) == ("held", "platform_limit")


def test_what_was_held_for_a_server_that_is_off_by_now_waits_for_its_turn(post: Post) -> None:
    limit(post, 0)
    post.use(2525)
    with post.world.acme_scope():
        waiting(2)
    note(post, SILENT)
    assert states(post) == ["held"] * 2
    with post.world.acme_scope():
        servers.disable(post.address_id, servers.By())
    post.world.tick()
    age_holds(post, 8)
    post.world.tick()
    assert states(post) == ["held"] * 2
