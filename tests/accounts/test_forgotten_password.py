"""A forgotten password: the letter, its link, the new password."""

from __future__ import annotations

import hashlib
import re
import time

import pytest
import time_machine

from panel.outbox.models import Delivery
from panel.web.security import FORGOT_AT_LEAST
from tests.support.world import PASSWORD, Browser, World

NEW = "a better password than before"


def letters(world: World) -> list[Delivery]:
    with world.acme_scope() as session:
        return list(session.query(Delivery).order_by(Delivery.id))


def ask(world: World, email: str) -> str:
    return world.client().submit("/forgot", email=email).get_data(as_text=True)


def link(world: World) -> str:
    ask(world, world.owner.email)
    found = re.search(r"http://127\.0\.0\.1:8000(/forgot/\S+)", letters(world)[-1].values["text"])
    assert found
    return found[1]


def choose(browser: Browser, path: str, password: str = NEW, again: str | None = None):
    return browser.submit(path, password=password, password_confirm=again or password)


def test_it_queues_a_letter_by_the_platform_server(world: World):
    ask(world, world.owner.email)
    (letter,) = letters(world)
    assert (letter.kind, letter.state, letter.to_address) == ("system", "queued", world.owner.email)
    assert letter.values["subject"] == "Choose a new password for Ownpost"
    assert "/forgot/" in letter.values["text"]
    assert "/forgot/" in letter.values["html"]


def test_it_gives_the_same_answer_for_an_unknown_address(world: World):
    known, unknown = ask(world, world.owner.email), ask(world, "nobody@acme.test")
    assert "is on its way" in known
    assert without_tokens(known).replace(world.owner.email, "nobody@acme.test") == without_tokens(unknown)
    assert len(letters(world)) == 1


def without_tokens(page: str) -> str:
    return re.sub(r"[\w.-]{60,}", "", page)


def test_it_takes_its_time_for_known_and_unknown_alike(world: World):
    for email in (world.owner.email, "nobody@acme.test"):
        browser = world.client()
        browser.get("/forgot")
        began = time.monotonic()
        browser.post("/forgot", {"email": email})
        assert time.monotonic() - began >= FORGOT_AT_LEAST


def test_it_writes_the_link_with_the_public_url_whatever_the_request_says(world: World):
    browser = world.client()
    browser.get("/forgot", base_url="http://evil.example")
    browser.post("/forgot", {"email": world.owner.email}, base_url="http://evil.example")
    for part in ("text", "html"):
        assert "evil.example" not in letters(world)[-1].values[part]
        assert "http://127.0.0.1:8000/forgot/" in letters(world)[-1].values[part]


def test_it_sets_a_new_password_by_the_link(world: World):
    browser = world.client()
    answer = choose(browser, link(world))
    assert answer.location == "/login"
    assert "Your new password is saved" in browser.get("/login").get_data(as_text=True)
    assert browser.submit("/login", email=world.owner.email, password=NEW).status_code == 302
    assert world.client().submit("/login", email=world.owner.email, password=PASSWORD).status_code == 200


def test_it_ends_every_session_of_that_person(world: World):
    before, colleague = world.client(world.owner), world.client(world.member)
    choose(world.client(), link(world))
    assert not before.signed_in()
    assert colleague.signed_in()


def test_it_ends_a_sign_in_that_is_kept_too(world: World):
    browser = world.client()
    browser.submit("/login", email=world.owner.email, password=PASSWORD, remember="y")
    assert browser.signed_in()
    choose(world.client(), link(world))
    assert not browser.signed_in()


def test_it_tells_the_person_that_the_password_changed(world: World):
    choose(world.client(), link(world))
    notice = letters(world)[-1]
    assert notice.values["subject"] == "Your Ownpost password was changed"
    assert "http://127.0.0.1:8000/forgot" in notice.values["text"]
    assert NEW not in str(notice.values)


def test_it_takes_a_link_once(world: World):
    path = link(world)
    choose(world.client(), path)
    browser = world.client()
    assert browser.get(path).location == "/forgot"
    assert "has been used" in browser.get("/forgot").get_data(as_text=True)
    assert len(letters(world)) == 2


def test_it_takes_a_link_for_two_hours(world: World):
    path = link(world)
    with time_machine.travel(time.time() + 2 * 3600 + 60):
        browser = world.client()
        assert browser.get(path).location == "/forgot"
        assert "has expired" in browser.get("/forgot").get_data(as_text=True)


def test_it_refuses_a_made_up_link(world: World):
    assert world.client().get("/forgot/made-up").location == "/forgot"


def test_it_refuses_a_short_password(world: World):
    page = choose(world.client(), link(world), "short").get_data(as_text=True)
    assert "at least 10 characters" in page
    assert world.client(world.owner).signed_in()


@pytest.mark.parametrize(
    "easy", ["password1234", "qwertyuiop", "Ownpost2026", "aaaaaaaaaaaa", "owner@acme.test", "Password1!"]
)
def test_it_refuses_what_would_be_tried_first(world: World, easy: str):
    page = choose(world.client(), link(world), easy).get_data(as_text=True)
    assert "among the first that somebody would try" in page
    assert easy not in page
    assert world.client(world.owner).signed_in()


@pytest.mark.parametrize("good", ["nur kleine buchstaben", "ünï cödé  räume", hashlib.sha512(b"long").hexdigest()])
def test_it_takes_any_characters_and_any_length(world: World, good: str):
    browser = world.client()
    choose(browser, link(world), good)
    assert browser.submit("/login", email=world.owner.email, password=good).status_code == 302
    assert world.client().submit("/login", email=world.owner.email, password=good[:-1]).status_code == 200


def test_it_refuses_two_different_passwords(world: World):
    page = choose(world.client(), link(world), NEW, again="another password").get_data(as_text=True)
    assert "not the same" in page
    assert world.client(world.owner).signed_in()
