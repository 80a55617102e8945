"""A new password while signed in."""

from __future__ import annotations

import pytest
from werkzeug.test import TestResponse

from panel.accounts.models import AuditEntry
from panel.outbox.models import Delivery
from tests.support.world import PASSWORD, Browser, World

NEW = "a better password than before"
PATH = "/settings/security/password"


def change(browser: Browser, present: str = PASSWORD, new: str = NEW, again: str | None = None) -> TestResponse:
    return browser.submit(PATH, password=present, new_password=new, new_password_confirm=again or new)


def test_it_saves_the_new_password(world: World):
    browser = world.client(world.owner)
    answer = change(browser)
    assert answer.location == "/settings/security"
    assert world.client().submit("/login", email=world.owner.email, password=NEW).status_code == 302
    assert world.client().submit("/login", email=world.owner.email, password=PASSWORD).status_code == 200


def test_it_ends_every_other_session_and_keeps_this_one(world: World):
    here, there, colleague = world.client(world.owner), world.client(world.owner), world.client(world.member)
    change(here)
    assert here.signed_in()
    assert not there.signed_in()
    assert colleague.signed_in()


def test_it_tells_the_person_by_letter(world: World):
    change(world.client(world.owner))
    with world.acme_scope() as session:
        letter = session.query(Delivery).one()
    assert letter.values["subject"] == "Your Ownpost password was changed"
    assert NEW not in str(letter.values)


def test_it_is_in_the_audit_log(world: World):
    change(world.client(world.owner))
    with world.acme_scope() as session:
        entry = session.query(AuditEntry).filter_by(action="password.changed").one()
    assert (entry.action, entry.user_id, entry.ip) == ("password.changed", world.owner.id, "127.0.0.1")
    assert entry.details == {}


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("present", "new", "again", "words"),
    [
        ("wrong", NEW, NEW, "That is not your password."),
        (PASSWORD, "short", "short", "at least 10 characters"),
        (PASSWORD, "password1234", "password1234", "among the first that somebody would try"),
        (PASSWORD, "owner@acme.test", "owner@acme.test", "among the first that somebody would try"),
        (PASSWORD, NEW, "something else", "not the same"),
        (PASSWORD, PASSWORD, PASSWORD, "Choose another"),
    ],
)
def test_it_says_what_is_wrong(world: World, present: str, new: str, again: str, words: str):
    browser = world.client(world.owner)
    page = change(browser, present, new, again).get_data(as_text=True)
    assert words in page
    assert world.client(world.owner).signed_in()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_it_lets_the_present_password_be_tried_a_few_times_only(world: World):
    browser = world.client(world.owner)
    for number in range(5):
        assert change(browser, f"wrong {number}").status_code == 200
    refused = change(browser)
    assert refused.status_code == 429
    assert "Retry-After" in refused.headers


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_it_is_for_people_who_are_signed_in(world: World):
    assert world.client().get(PATH).location.startswith("/login?next=")
