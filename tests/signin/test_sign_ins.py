"""Where somebody is signed in: they see it, and end it."""

from __future__ import annotations

import re
import time

import pytest
import time_machine

from panel.signin import signins
from panel.signin.models import SignIn
from tests.support.world import PASSWORD, World

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
PAGE = "/settings/security"


def others(page: str) -> list[str]:
    return re.findall(r'action="(/settings/security/sign-ins/[0-9a-f]+/end)"', page)


def test_it_shows_where_somebody_is_signed_in(world: World):
    here, there = world.client(world.owner), world.client()
    there.get("/login")
    form = {"email": world.owner.email, "password": PASSWORD}
    there.post("/login", form, headers={"User-Agent": FIREFOX}, environ_base={"REMOTE_ADDR": "203.0.113.9"})
    world.client(world.member)
    page = here.get(PAGE).get_data(as_text=True)
    assert "Firefox on Linux" in page
    assert "from 203.0.113.9" in page
    assert page.count("This browser") == 1
    assert len(others(page)) == 1


def test_its_buttons_say_which_one_they_end(world: World):
    world.client(world.owner)
    page = world.client(world.owner).get(PAGE).get_data(as_text=True)
    assert re.search(r'aria-label="Sign out [^"<>]+, since \d{1,2} \w{3} \d{4}, \d\d:\d\d">', page)


def test_it_ends_one_of_them(world: World):
    here, there, third = (world.client(world.owner) for _ in range(3))
    with world.acme_scope() as session:
        newest = session.query(SignIn).order_by(SignIn.began_at.desc()).first().id
    here.get(PAGE)
    assert here.post(f"{PAGE}/sign-ins/{newest}/end").status_code == 303
    assert [browser.signed_in() for browser in (here, there, third)] == [True, True, False]


def test_it_ends_nobody_elses(world: World):
    colleague, stranger = world.client(world.member), world.client(world.stranger)
    world.client(world.owner)
    with world.acme_scope() as session:
        theirs = session.query(SignIn).filter(SignIn.user_id == world.owner.id).one().id
    for browser in (colleague, stranger):
        assert browser.post(f"{PAGE}/sign-ins/{theirs}/end").status_code == 404
    with world.acme_scope() as session:
        assert session.get(SignIn, theirs) is not None


def test_it_shows_no_longer_what_a_new_password_has_ended(world: World):
    here = world.client(world.owner)
    world.client(world.owner)
    assert len(others(here.get(PAGE).get_data(as_text=True))) == 1
    fields = {"password": PASSWORD, "new_password": "quite a new one", "new_password_confirm": "quite a new one"}
    here.submit(f"{PAGE}/password", **fields)
    page = here.get(PAGE).get_data(as_text=True)
    assert others(page) == []
    assert "This browser" in page


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_it_asks_for_the_password_first(world: World):
    here = world.client(world.owner)
    world.client(world.owner)
    (url,) = others(here.get(PAGE).get_data(as_text=True))
    with time_machine.travel(time.time() + 16 * 60):
        assert here.post(url).status_code == 422


CHROME = "AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0"
SAFARI = "AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5"


@pytest.mark.parametrize(
    ("agent", "words"),
    [
        (FIREFOX, "Firefox on Linux"),
        (f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {CHROME} Safari/537.36 Edg/140.0.0.0", "Edge on Windows"),
        (f"Mozilla/5.0 (Linux; Android 15) {CHROME} Mobile Safari/537.36", "Chrome on Android"),
        (f"Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) {SAFARI} Mobile Safari/604.1", "Safari on iPhone"),
        (f"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) {SAFARI} Safari/605.1.15", "Safari on a Mac"),
        ("<script>alert(1)</script>" * 100, "A browser"),
        ("", "A browser"),
    ],
)
def test_it_names_browsers_as_their_owners_would(agent: str, words: str):
    assert signins.browser(agent) == words
