"""A participant who is deleted in one campaign and is in another one, too: what is meant for them there goes on."""

from __future__ import annotations

import datetime as dt
import threading
import uuid

import pytest
from sqlalchemy import update

from panel import db
from panel.accounts import service as accounts
from panel.blasts import service as blasts
from panel.blasts.audience import Audience
from panel.blasts.models import Blast
from panel.campaigns import service as campaigns
from panel.data import people
from panel.deliveries import bulk
from panel.deliveries.models import BulkAction
from panel.deliveries.wanted import Filter
from panel.participants import service as participants
from tests.blasts.conftest import EVERYBODY
from tests.data.content import somebody_waits, tables_with
from tests.deliveries.conftest import Post
from tests.support.wait import wait_for

BOB = "bob@friends.test"


@pytest.fixture
def autumn(post: Post) -> uuid.UUID:
    """Another campaign; Bob is in both."""
    made = add("Autumn", post)
    with post.world.acme_scope():
        for campaign_id in (post.campaign_id, made):
            participants.ensure_referrer(campaign_id, BOB, "Bob")
    return made


def add(name: str, post: Post) -> uuid.UUID:
    details = campaigns.Details(name=name, company_name="Acme Coffee", referral_url="https://acme.test/r")
    with post.world.acme_scope():
        return campaigns.create(details).id


def delete(post: Post, campaign_id: uuid.UUID) -> None:
    with post.world.acme_scope():
        found = participants.find(campaign_id, BOB)
        assert found is not None
        people.delete(found.id)


def schedule(post: Post, campaign_id: uuid.UUID) -> uuid.UUID:
    """A blast to Bob."""
    with post.world.acme_scope():
        blast_id = blasts.create(campaign_id).id
        blasts.save(blast_id, EVERYBODY, Audience(search=BOB))
        blasts.schedule(blast_id, db.now() + dt.timedelta(hours=1))
    return blast_id


def act(post: Post, campaign_id: uuid.UUID | None) -> uuid.UUID:
    """A *Resend* of what went to Bob, which is under way."""
    wanted, action_id = Filter(to=BOB, campaign_id=campaign_id).as_query(), uuid.uuid4()
    with post.world.acme_scope(), db.transaction() as session:
        session.add(BulkAction(id=action_id, what="resend", wanted=wanted, total=5_000, last=10_000))
    return action_id


def test_a_blast_of_another_campaign_reaches_them(post: Post, autumn: uuid.UUID):
    theirs, others = schedule(post, post.campaign_id), schedule(post, autumn)
    delete(post, post.campaign_id)
    with post.world.acme_scope(), db.transaction() as session:
        session.execute(update(Blast).values(scheduled_at=db.now()))
    post.world.tick()
    with post.world.acme_scope():
        assert (blasts.get(theirs).audience["search"], blasts.get(theirs).recipients) == ("(deleted)", 0)
        assert blasts.get(others).recipients == 1
    post.send()
    assert [letter.recipients for letter in post.platform.messages] == [(BOB,)]


def test_an_action_that_is_for_another_campaign_too_goes_on(post: Post, autumn: uuid.UUID):
    theirs, others, both = act(post, post.campaign_id), act(post, autumn), act(post, None)
    delete(post, post.campaign_id)
    with post.world.acme_scope():
        assert bulk.get(theirs).wanted["to"] == "(deleted)"
        assert bulk.get(theirs).ended_at is not None
        assert [(bulk.get(one).wanted["to"], bulk.get(one).ended_at) for one in (others, both)] == [(BOB, None)] * 2


def test_nothing_is_left_of_the_last_of_them(post: Post, autumn: uuid.UUID):
    for campaign_id in (post.campaign_id, autumn):
        schedule(post, campaign_id)
        act(post, campaign_id)
    act(post, None)
    delete(post, post.campaign_id)
    assert {"blasts.audience", "bulk_actions.wanted"} <= set(tables_with(BOB))
    delete(post, autumn)
    assert tables_with(BOB) == []


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_nothing_is_left_of_the_last_two_who_go_at_once(post: Post, autumn: uuid.UUID, monkeypatch: pytest.MonkeyPatch):
    schedule(post, add("Winter", post))  # where nobody is of that address
    audit = accounts.audit
    other = threading.Thread(target=delete, args=(post, autumn))

    def meanwhile(action: str, *, subject: str, letters_canceled: int) -> None:
        # All is done here but to commit it.
        monkeypatch.undo()
        audit(action, subject=subject, letters_canceled=letters_canceled)
        other.start()
        wait_for(lambda: not other.is_alive() or somebody_waits(), 60, what="an end or a lock")

    monkeypatch.setattr(accounts, "audit", meanwhile)
    delete(post, post.campaign_id)
    other.join()
    assert tables_with(BOB) == []
