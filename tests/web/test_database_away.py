"""The database is away: whoever is signed in still gets a page that says so."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy.exc import OperationalError

from panel import db
from tests.support.world import Browser, World

pytestmark = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)

WORDS = "Something went wrong on our side"


@pytest.fixture
def browser(world: World, database_url: str) -> Iterator[Browser]:
    """Signed in before the database went away."""
    found = world.client(world.owner)
    found.get("/campaigns")
    db.engine().dispose()
    db.connect("postgresql+psycopg://ownpost@127.0.0.1:9/ownpost")  # where nobody listens
    with pytest.raises(OperationalError), db.engine().connect():
        pass
    yield found
    db.engine().dispose()
    db.connect(database_url)


@pytest.mark.parametrize("path", ["/", "/campaigns", "/help", "/login", "/nowhere"])
def test_a_page_says_that_something_is_wrong(browser: Browser, path: str):
    answer = browser.get(path)
    page = answer.get_data(as_text=True)
    assert answer.status_code == 500
    assert WORDS in page
    assert "Try again in a moment." in page
    assert "</html>" in page
    assert "psycopg" not in page


def test_a_form_is_answered_so_too(browser: Browser):
    answer = browser.post("/campaigns/new", {"name": "Autumn"})
    assert answer.status_code == 500
    assert WORDS in answer.get_data(as_text=True)


def test_a_form_without_its_token_is_refused_as_ever(browser: Browser):
    """Which is looked at before anybody asks who is signed in."""
    answer = browser.client.post("/campaigns/new", data={"name": "Autumn"})
    assert answer.status_code == 400
    assert "This page is out of date" in answer.get_data(as_text=True)


def test_htmx_gets_a_line_of_text(browser: Browser):
    answer = browser.get("/campaigns", headers={"HX-Request": "true"})
    assert (answer.status_code, answer.mimetype) == (500, "text/plain")
    assert answer.get_data(as_text=True).startswith(WORDS)


def test_the_sign_in_outlives_it(browser: Browser, database_url: str):
    assert browser.get("/campaigns").status_code == 500
    db.engine().dispose()
    db.connect(database_url)
    assert browser.get("/campaigns").status_code == 200
