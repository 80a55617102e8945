"""What letters were made of is kept for some time; the log goes on telling how they went."""

from __future__ import annotations

import datetime as dt
import time

import pytest
from sqlalchemy import select, update

from panel import db
from panel.accounts.models import Account
from panel.config import ConfigError, Settings
from panel.deliveries import bulk, retention
from panel.deliveries.wanted import Filter
from panel.outbox import forgetting
from panel.outbox.models import Attempt, Delivery
from tests.data.content import tables_with
from tests.deliveries.conftest import Post


def age(post: Post, days: float, *which: int) -> None:
    with db.system_scope("tests"), db.transaction() as session:
        made_at = db.now() - dt.timedelta(days=days)
        session.execute(update(Delivery).where(Delivery.id.in_(which)).values(made_at=made_at))


def look(post: Post, days: int) -> int:
    with post.world.acme_scope():
        return retention.blank_old(days, time.monotonic() + 10)[0]


def blanked(post: Post) -> list[int]:
    with post.world.acme_scope() as session:
        return list(session.scalars(select(Delivery.id).where(Delivery.blanked_at.is_not(None)).order_by(Delivery.id)))


def test_it_removes_what_is_old_and_leaves_what_is_young(post: Post):
    old, young = post.welcome("old@friends.test"), post.join("young@friends.test", "Yuki")[0]
    post.send()
    with post.world.acme_scope(), db.transaction() as session:
        session.execute(update(Delivery).values(reply="250 ok Robin"))
        session.execute(update(Attempt).values(reply="250 ok Robin"))
    age(post, 31, old)
    assert look(post, 30) == 1
    assert blanked(post) == [old]
    row = post.get(old)
    assert (row.state, row.to_address, row.values, row.reply) == ("sent", "old@friends.test", {}, None)
    assert [one.reply for one in post.attempts(old)] == [None]
    assert "Yuki" in str(post.get(young).values)
    assert look(post, 30) == 0


def test_it_leaves_what_still_waits_and_comes_back_for_it(post: Post):
    waiting, sent = post.welcome("one@friends.test"), post.join("two@friends.test")[0]
    with db.system_scope("tests"), db.transaction() as session:
        session.execute(update(Delivery).where(Delivery.id == waiting).values(state="held"))
    post.send()
    age(post, 31, waiting, sent)
    assert look(post, 30) == 1
    assert blanked(post) == [sent]
    with db.system_scope("tests"), db.transaction() as session:
        session.execute(update(Delivery).where(Delivery.id == waiting).values(state="canceled"))
    assert look(post, 30) == 1
    assert blanked(post) == [waiting, sent]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_it_does_so_in_pieces(post: Post, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(forgetting, "PIECE", 2)
    post.welcome("first@friends.test")
    ids = [post.join(f"p{number}@friends.test")[0] for number in range(6)]
    post.send()
    age(post, 31, *ids)
    assert look(post, 30) == 6
    with post.world.acme_scope() as session:
        done = session.get_one(Account, post.world.acme.id).blanked_through
    assert ids[-1] - 2 <= done <= ids[-1]


def test_the_log_tells_what_became_of_it_and_why_it_cannot_be_shown(post: Post):
    number = post.welcome()
    post.send()
    age(post, 31, number)
    look(post, 30)
    browser = post.world.client(post.world.owner)
    listed = browser.get("/deliveries").get_data(as_text=True)
    assert "robin@friends.test" in listed
    page = browser.get(f"/deliveries/{number}").get_data(as_text=True)
    assert 'data-delivery-state="sent"' in page
    assert "it is kept for a limited time only" in page
    assert f"/deliveries/{number}/resend" not in page
    assert browser.get(f"/deliveries/{number}/html").status_code == 404
    assert browser.get(f"/deliveries/{number}/letter.eml").status_code == 404
    told = browser.post(f"/deliveries/{number}/resend", follow_redirects=True).get_data(as_text=True)
    assert "It cannot be sent again: what it was made of is not kept any longer." in told


def test_a_resend_of_all_leaves_it_out(post: Post):
    number = post.welcome()
    with db.system_scope("tests"), db.transaction() as session:
        session.execute(update(Delivery).where(Delivery.id == number).values(state="failed"))
    with post.world.acme_scope():
        assert bulk.plan("resend", Filter(state="failed")).total == 1
    age(post, 31, number)
    look(post, 30)
    with post.world.acme_scope():
        assert bulk.plan("resend", Filter(state="failed")).total == 0


def test_the_shorter_of_the_operators_and_the_accounts_time_counts(post: Post):
    world = post.world
    post.welcome()
    post.send()
    with world.acme_scope() as session:
        letters = sorted(session.scalars(select(Delivery.id)))  # and the note to the owner, which was canceled
    age(post, 25, *letters)
    world.tick()
    assert blanked(post) == []  # nobody said how long
    world.reconfigure(OWNPOST_KEEP_VALUES_DAYS="60")
    world.tick()
    assert blanked(post) == []
    browser = world.client(world.owner)
    page = browser.get("/settings/data").get_data(as_text=True)
    assert "This installation keeps them for 60 days at most." in page
    assert "Enter at most that." in browser.post("/settings/data", {"days": "61"}).get_data(as_text=True)
    assert browser.post("/settings/data", {"days": "0"}).status_code == 422
    assert browser.post("/settings/data", {"days": "20"}).status_code == 303
    world.reconfigure()  # another ticker: this one looked within the hour
    world.tick()
    assert blanked(post) == letters
    assert tables_with("Meyer") == ["participants.last_name"]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_malformed_number_of_days_names_its_variable(post: Post):
    with pytest.raises(ConfigError, match=r"OWNPOST_KEEP_VALUES_DAYS: must be a whole number of days"):
        Settings.from_env({**post.world.environ, "OWNPOST_KEEP_VALUES_DAYS": "soon"})
    assert Settings.from_env({**post.world.environ, "OWNPOST_KEEP_VALUES_DAYS": "0"}).keep_values_days is None
