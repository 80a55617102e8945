"""Signing in."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import pytest
from sqlalchemy import update
from werkzeug.test import TestResponse

from panel import db
from panel.accounts.models import User
from tests.support.world import PASSWORD, World

# It holds the second it was made in.
TOKEN = re.compile(r'csrf_token"( type="hidden")? value="[^"]+|"X-CSRFToken": "[^"]+')


def test_it_signs_in_with_email_and_password(world: World):
    browser = world.client()
    answer = browser.submit("/login", email=world.owner.email, password=PASSWORD)
    assert answer.status_code == 302
    assert answer.location == "/"
    page = browser.get("/help").get_data(as_text=True)
    assert world.owner.email in page
    assert "Acme" in page


def test_it_takes_the_address_in_any_case(world: World):
    assert world.client().submit("/login", email="Owner@ACME.test", password=PASSWORD).status_code == 302


@pytest.mark.parametrize("typed", ["info@bücher.example", "Info@BÜCHER.example", "info@xn--bcher-kva.example"])
def test_it_takes_an_international_domain_as_it_is_written_and_as_it_is_mailed(world: World, typed: str):
    with db.system_scope("tests") as session, db.transaction():
        session.execute(update(User).where(User.email == world.owner.email).values(email="info@xn--bcher-kva.example"))
    assert world.client().submit("/login", email=typed, password=PASSWORD).status_code == 302


def test_it_lets_nobody_in_by_a_letter_that_only_the_database_takes_for_the_same(world: World):
    with db.system_scope("tests") as session, db.transaction():
        session.execute(update(User).where(User.email == world.owner.email).values(email="mikis@acme.test"))
    browser = world.client()
    # PostgreSQL makes an i of it, and counting tries would take it for another name.
    answer = browser.submit("/login", email="m\u0130kis@acme.test", password=PASSWORD)
    assert answer.status_code == 200
    assert not browser.signed_in()


def test_it_gives_the_same_answer_for_a_wrong_password_and_an_unknown_address(world: World):
    browser = world.client()
    wrong = browser.submit("/login", email=world.owner.email, password="not the password")
    unknown = browser.submit("/login", email="stranger@acme.test", password="not the password")
    assert "do not go together" in wrong.get_data(as_text=True)
    assert wrong.status_code == unknown.status_code
    text = wrong.get_data(as_text=True).replace(world.owner.email, "stranger@acme.test")
    assert TOKEN.sub("", text) == TOKEN.sub("", unknown.get_data(as_text=True))
    assert not browser.signed_in()


def test_it_keeps_the_address_and_never_the_password_after_a_slip(world: World):
    page = (
        world.client().submit("/login", email=world.owner.email, password="canary in the mine").get_data(as_text=True)
    )
    assert f'value="{world.owner.email}"' in page
    assert "canary in the mine" not in page


def test_it_refuses_a_login_that_is_switched_off(world: World):
    with world.acme_scope(), db.transaction():
        db.owned(User, world.owner.id).active = False
    browser = world.client()
    answer = browser.submit("/login", email=world.owner.email, password=PASSWORD)
    assert "do not go together" in answer.get_data(as_text=True)
    assert not browser.signed_in()


def test_it_ends_the_sessions_of_a_login_that_is_switched_off(world: World):
    browser = world.client(world.owner)
    with world.acme_scope(), db.transaction():
        db.owned(User, world.owner.id).active = False
    assert not browser.signed_in()


def test_it_notes_when_somebody_signed_in(world: World):
    world.client(world.owner)
    with world.acme_scope():
        assert db.owned(User, world.owner.id).login_count == 1


def test_it_asks_for_a_sign_in_and_comes_back_to_the_page(world: World):
    browser = world.client()
    asked = browser.get("/deliveries?state=failed")
    assert asked.status_code == 302
    assert asked.location == "/login?next=/deliveries?state%3Dfailed"
    browser.get(asked.location)
    signed_in = browser.post(asked.location, {"email": world.owner.email, "password": PASSWORD})
    assert signed_in.location == "/deliveries?state=failed"


@pytest.mark.parametrize(
    "elsewhere",
    [
        "//evil.example",
        "///evil.example",
        "https://evil.example/",
        "http:evil.example",
        "https:evil.example",
        "/\t/evil.example",
        "/\n/evil.example",
        "\t//evil.example",
        "http://localhost@evil.example/",
        "http://localhost.evil.example/",
        "\\\\evil.example",
        "/\\evil.example",
        " //evil.example",
        "javascript:alert(1)",
        "https:\\\\evil.example",
    ],
)
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_it_leads_nobody_to_another_site(world: World, elsewhere: str):
    browser = world.client()
    browser.get("/login", query_string={"next": elsewhere})
    answer = browser.post("/login", {"email": world.owner.email, "password": PASSWORD, "next": elsewhere})
    if answer.status_code == 200:
        # Refused with a word about it; the form that came back leads home.
        assert "would have led to another site" in answer.get_data(as_text=True)
        answer = browser.post("/login", {"email": world.owner.email, "password": PASSWORD, "next": next_of(answer)})
    assert answer.status_code == 302
    target = urlsplit(answer.location)
    assert target.scheme == target.netloc == ""
    # Browsers read a backslash as a slash and drop blanks before it.
    assert not re.match(r"[\s/\\]*[/\\][\s/\\]*[/\\]", answer.location)
    assert browser.signed_in()


def next_of(page: TestResponse) -> str:
    found = re.search(r'name="next"[^>]*value="([^"]*)"', page.get_data(as_text=True))
    assert found
    return found[1]


def test_it_refuses_a_form_without_its_token(world: World):
    answer = world.client().client.post("/login", data={"email": world.owner.email, "password": PASSWORD})
    assert answer.status_code == 400


def test_it_sends_somebody_who_is_signed_in_onwards(world: World):
    assert world.client(world.owner).get("/login").location == "/"
