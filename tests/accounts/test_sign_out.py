"""Signing out."""

from __future__ import annotations

import re
import time
from urllib.parse import urlsplit

import pytest
import time_machine

from panel.signin.models import SignIn
from panel.web import sessions
from tests.support.world import World


def test_it_signs_out_by_post(world: World):
    browser = world.client(world.owner)
    assert browser.signed_in()
    answer = browser.post("/logout")
    assert answer.location == "/login"
    assert answer.headers["Clear-Site-Data"] == '"cache"'
    assert not browser.signed_in()


def test_it_does_not_sign_out_by_a_link(world: World):
    browser = world.client(world.owner)
    assert browser.get("/logout").status_code == 405
    assert browser.signed_in()


def test_it_does_not_sign_out_for_another_site(world: World):
    browser = world.client(world.owner)
    assert browser.client.post("/logout").status_code == 400
    assert browser.signed_in()


def test_it_signs_out_this_browser_only(world: World):
    here, there = world.client(world.owner), world.client(world.owner)
    here.post("/logout")
    assert there.signed_in()


def test_it_puts_the_cookie_out_of_use_also_where_it_was_copied(world: World):
    browser, thief = world.client(world.owner), world.client()
    cookie = browser.client.get_cookie("ownpost")
    assert cookie
    thief.client.set_cookie("ownpost", cookie.value)
    assert thief.signed_in()
    browser.post("/logout")
    thief.client.set_cookie("ownpost", cookie.value)
    assert not thief.signed_in()
    assert world.client(world.owner).signed_in()


def test_it_forgets_sign_ins_whose_time_is_up(world: World):
    world.client(world.owner)
    with time_machine.travel(time.time() + sessions.LONGEST + 60):
        world.client(world.owner)
        with world.acme_scope() as session:
            assert len(session.query(SignIn).all()) == 1


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    "elsewhere", ["//evil.example", "https:evil.example", "/\\evil.example", "https://evil.example"]
)
def test_it_leads_nobody_to_another_site(world: World, elsewhere: str):
    browser = world.client(world.owner)
    location = browser.post("/logout", {"next": elsewhere}, query_string={"next": elsewhere}).location
    assert urlsplit(location).netloc == urlsplit(location).scheme == ""
    # Browsers read a backslash as a slash and drop blanks before it.
    assert not re.match(r"[\s/\\]*[/\\][\s/\\]*[/\\]", location)
