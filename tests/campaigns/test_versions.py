"""Saving words: each save is a version."""

from __future__ import annotations

import uuid

import pytest

from panel import db
from panel.campaigns import service as campaigns
from panel.campaigns.service import Details, Notification
from panel.message.template import TemplateProblems
from tests.support.world import World

WORDS = {"preheader": "", "html": "<p>Hello {{ referrer.first_name }}</p>", "text": None}


def a_welcome() -> Notification:
    details = Details(name="Spring", company_name="Acme", referral_url="https://acme.example/r/")
    return campaigns.notification_of(campaigns.create(details).id, "welcome")


def test_it_makes_the_next_version_the_current_one(world: World) -> None:
    with world.acme_scope():
        welcome = a_welcome()
        first = campaigns.current_version(welcome)
        second = campaigns.save_version(welcome.id, subject="Hi", made_by=world.owner.id, **WORDS)
        assert second.number == 2
        assert second.made_by == world.owner.id
        assert not second.text_is_own
        assert "Hello {{ referrer.first_name }}" in second.text
        assert campaigns.current_version(campaigns.get_notification(welcome.id)).id == second.id
        assert [each.id for each in campaigns.versions(welcome.id)] == [second.id, first.id]


def test_it_renders_an_older_version_as_it_was(world: World) -> None:
    with world.acme_scope():
        welcome = a_welcome()
        first = campaigns.current_version(welcome)
        before = campaigns.compiled(first.id).render({"referrer.first_name": "Robin"})
        campaigns.save_version(welcome.id, subject="Something else", **WORDS)
        assert campaigns.compiled(first.id).render({"referrer.first_name": "Robin"}) == before


def test_it_saves_nothing_when_a_tag_is_unknown(world: World) -> None:
    with world.acme_scope():
        welcome = a_welcome()
        with pytest.raises(TemplateProblems) as caught:
            campaigns.save_version(
                welcome.id, subject="Hi", preheader="", html="<p>a</p>\n{{ reward.name }}", text=None
            )
        assert [(each.field, each.line) for each in caught.value.problems] == [("html", 2)]
        assert len(campaigns.versions(welcome.id)) == 1


def test_it_makes_no_version_of_unchanged_words(world: World) -> None:
    with world.acme_scope():
        welcome = a_welcome()
        saved = [campaigns.save_version(welcome.id, subject="Hi", **WORDS).number for _ in range(2)]
        assert saved == [2, 2]


def test_it_restores_an_older_version_as_a_new_one(world: World) -> None:
    with world.acme_scope():
        welcome = a_welcome()
        first = campaigns.current_version(welcome)
        campaigns.save_version(welcome.id, subject="Hi", **{**WORDS, "text": "My own words"})
        third = campaigns.restore(welcome.id, first.id, made_by=None)
        assert (third.number, third.subject, third.text) == (3, first.subject, first.text)
        assert not third.text_is_own


def test_it_restores_no_version_of_another_notification(world: World) -> None:
    with world.acme_scope():
        welcome = a_welcome()
        other = campaigns.notification_of(welcome.campaign_id, "new_referrer")
        with pytest.raises(db.NotFound):
            campaigns.restore(welcome.id, campaigns.current_version(other).id, made_by=None)


def test_it_hands_no_parsed_version_to_another_account(world: World) -> None:
    with world.acme_scope():
        version = campaigns.current_version(a_welcome())
        campaigns.compiled(version.id)
    with db.account_scope(world.other.id), pytest.raises(db.NotFound):
        campaigns.compiled(version.id)
    with world.acme_scope(), pytest.raises(db.NotFound):
        campaigns.compiled(uuid.uuid4())
