"""Passkeys as second factor, over HTTP, with an authenticator in software. A real browser's is in tests/flows."""

from __future__ import annotations

import datetime as dt
import html
import json
import re
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
import time_machine
from werkzeug.test import TestResponse

from panel import db
from panel.signin import passkeys
from panel.signin.models import Passkey
from tests.signin.kit import SoftPasskey, codes_of, give_password
from tests.support.world import Browser, World

BASE = "/settings/security/passkeys"


@pytest.fixture
def panel(world: World) -> World:
    """A panel with a name. Its cookies would want TLS; their names and flags have tests of their own."""
    world.reconfigure(OWNPOST_PUBLIC_URL="http://localhost:8000")
    return world


def passkey() -> SoftPasskey:
    return SoftPasskey(origin="http://localhost:8000", site="localhost")


def options(page: TestResponse) -> dict:
    found = re.search(r'data-passkey-options="([^"]+)"', page.get_data(as_text=True))
    assert found, page.get_data(as_text=True)
    return json.loads(html.unescape(found[1]))


def add(browser: Browser, key: SoftPasskey, name: str = "My laptop") -> TestResponse:
    asked = options(browser.post(f"{BASE}/new", {"name": name}))
    return browser.post(BASE, {"credential": key.create(asked), "name": name})


def test_it_asks_for_the_passkey_after_the_password(panel: World):
    key = passkey()
    added = add(panel.client(panel.owner), key)
    assert len(codes_of(added)) == 10
    browser = give_password(panel, panel.owner)
    asked = options(browser.get("/login/second"))
    assert asked["rpId"] == "localhost"
    assert browser.post("/login/second", {"credential": key.get(asked)}).status_code == 303
    assert browser.signed_in()
    assert "My laptop" in browser.get("/settings/security").get_data(as_text=True)


def test_it_takes_no_other_passkey(panel: World):
    key, another = passkey(), passkey()
    add(panel.client(panel.owner), key)
    add(panel.client(panel.stranger), another)
    browser = give_password(panel, panel.owner)
    assert (
        browser.post("/login/second", {"credential": another.get(options(browser.get("/login/second")))}).status_code
        == 422
    )
    forged = passkey()
    forged.id = key.id
    assert (
        browser.post("/login/second", {"credential": forged.get(options(browser.get("/login/second")))}).status_code
        == 422
    )
    assert not browser.signed_in()


def test_it_takes_an_answer_once(panel: World):
    key = passkey()
    add(panel.client(panel.owner), key)
    browser = give_password(panel, panel.owner)
    answer = key.get(options(browser.get("/login/second")))
    assert browser.post("/login/second", {"credential": answer}).status_code == 303
    again = give_password(panel, panel.owner)
    assert again.post("/login/second", {"credential": answer}).status_code == 422


@contextmanager
def cookie_kept(browser: Browser) -> Iterator[None]:
    """The browser's session is afterwards what it was before: somebody kept a copy of its cookie."""
    kept = browser.client.get_cookie("ownpost").value
    yield
    browser.client.set_cookie("ownpost", kept)


def test_it_takes_an_answer_once_also_with_the_cookie_of_before(panel: World):
    key = passkey()
    add(panel.client(panel.owner), key)
    key.count = -1  # as of a passkey that is on several devices, which counts nothing: always 0
    browser = give_password(panel, panel.owner)
    answer = key.get(options(browser.get("/login/second")))
    with cookie_kept(browser):
        assert browser.post("/login/second", {"credential": answer}).status_code == 303
    assert browser.post("/login/second", {"credential": answer}).status_code == 422
    assert not browser.signed_in()


def test_it_lets_one_in_of_several_who_send_an_answer_at_once(panel: World):
    key = passkey()
    add(panel.client(panel.owner), key)
    key.count = -1
    browser = give_password(panel, panel.owner)
    answer = key.get(options(browser.get("/login/second")))
    copies = [Browser(panel.app.test_client()) for _ in range(4)]
    for copy in copies:
        copy.client.set_cookie("ownpost", browser.client.get_cookie("ownpost").value)
        copy._token = browser._token
    start = threading.Barrier(len(copies))

    def one(copy: Browser) -> int:
        start.wait(20)
        return copy.post("/login/second", {"credential": answer}).status_code

    with ThreadPoolExecutor(len(copies)) as pool:
        assert sorted(pool.map(one, copies)) == [303, 422, 422, 422]


def test_it_takes_the_next_answer_of_a_passkey_that_counts_nothing(panel: World):
    key = passkey()
    add(panel.client(panel.owner), key)
    for _ in range(2):
        key.count = -1
        browser = give_password(panel, panel.owner)
        answer = key.get(options(browser.get("/login/second")))
        assert browser.post("/login/second", {"credential": answer}).status_code == 303


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_it_takes_an_answer_once_also_where_clocks_differ(panel: World):
    """The machine that asked is ahead of the one that takes the answer."""
    key = passkey()
    add(panel.client(panel.owner), key)
    key.count = -1
    where = passkeys.site("http://localhost:8000")
    with panel.acme_scope():
        asked = passkeys.ask_for_one(panel.owner.id, where)
        challenge = passkeys.Challenge(asked.challenge, db.now() + dt.timedelta(seconds=5))
        answer = key.get(json.loads(asked.options))
        taken = [passkeys.takes(panel.owner.id, where, challenge=challenge, answer=answer) for _ in range(2)]
    assert taken == [True, False]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_it_adds_a_passkey_once_also_with_the_cookie_of_before(panel: World):
    browser, key = panel.client(panel.owner), passkey()
    asked = options(browser.post(f"{BASE}/new", {"name": "x"}))
    form = {"credential": key.create(asked), "name": "x"}
    with cookie_kept(browser):
        assert len(codes_of(browser.post(BASE, form))) == 10
        with panel.acme_scope() as session:
            session.delete(session.query(Passkey).one())
            session.commit()
    browser.post(BASE, form)
    with panel.acme_scope() as session:
        assert session.query(Passkey).all() == []


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("origin", "site"),
    [
        ("http://evil.example", "localhost"),
        ("http://localhost:8001", "localhost"),
        ("http://localhost:8000", "evil.example"),
    ],
)
def test_it_takes_nothing_that_was_signed_for_another_site(panel: World, origin: str, site: str):
    key = passkey()
    add(panel.client(panel.owner), key)
    key.origin, key.site = origin, site
    browser = give_password(panel, panel.owner)
    assert (
        browser.post("/login/second", {"credential": key.get(options(browser.get("/login/second")))}).status_code == 422
    )
    assert add(panel.client(panel.stranger), key).status_code == 303  # back to the page, with a word
    with panel.acme_scope() as session:
        assert len(session.query(Passkey).all()) == 1


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    "answer", ["", "{}", "[]", "null", '"x"', '{"id": 1}', "not json", '{"id": "AA", "rawId": "AA"}']
)
def test_it_takes_no_nonsense(panel: World, answer: str):
    add(panel.client(panel.owner), passkey())
    browser = give_password(panel, panel.owner)
    assert browser.post("/login/second", {"credential": answer}).status_code == 422
    owner = panel.client(panel.stranger)
    owner.post(f"{BASE}/new", {"name": "x"})
    assert owner.post(BASE, {"credential": answer, "name": "x"}).status_code == 303


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_it_takes_an_answer_for_five_minutes(panel: World):
    key = passkey()
    add(panel.client(panel.owner), key)
    browser = give_password(panel, panel.owner)
    asked = options(browser.get("/login/second"))
    with time_machine.travel(time.time() + 301):
        assert browser.post("/login/second", {"credential": key.get(asked)}).status_code == 422


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_it_notices_a_copied_passkey(panel: World):
    """A counter that goes back: two devices hold the same key (WebAuthn, section 6.1.1)."""
    key = passkey()
    add(panel.client(panel.owner), key)
    key.count = 7
    for count, status in ((7, 303), (3, 422)):
        key.count = count
        browser = give_password(panel, panel.owner)
        answer = key.get(options(browser.get("/login/second")))
        assert browser.post("/login/second", {"credential": answer}).status_code == status


def test_it_is_removed_by_its_owner_only(panel: World):
    owner, colleague = panel.client(panel.owner), panel.client(panel.member)
    add(owner, passkey())
    with panel.acme_scope() as session:
        passkey_id = session.query(Passkey).one().id
    assert colleague.post(f"{BASE}/{passkey_id}/remove").status_code == 404
    assert panel.client(panel.stranger).post(f"{BASE}/{passkey_id}/remove").status_code == 404
    assert owner.post(f"{BASE}/{passkey_id}/remove").status_code == 303
    assert panel.client(panel.owner).signed_in()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_it_wants_a_name(panel: World):
    answer = panel.client(panel.owner).post(f"{BASE}/new", {"name": ""})
    assert answer.status_code == 422
    assert "Give it a name" in answer.get_data(as_text=True)


@pytest.mark.parametrize(
    ("url", "name", "origin"),
    [
        ("https://mail.example.com", "mail.example.com", "https://mail.example.com"),
        ("https://mail.example.com:443/panel", "mail.example.com", "https://mail.example.com"),
        ("https://mail.example.com:8443", "mail.example.com", "https://mail.example.com:8443"),
        ("http://localhost:8000", "localhost", "http://localhost:8000"),
        ("http://127.0.0.1:8000", None, None),
        ("https://[2001:db8::1]", None, None),
        ("http://mail.example.com", None, None),
    ],
)
def test_it_knows_where_browsers_take_passkeys(url: str, name: str | None, origin: str | None):
    found = passkeys.site(url)
    assert (found.name if found else None, found.origin if found else None) == (name, origin)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_it_says_so_where_they_do_not(world: World):
    browser = world.client(world.owner)
    assert "only on a panel that has a name" in browser.get("/settings/security").get_data(as_text=True)
    assert browser.post(f"{BASE}/new", {"name": "x"}).status_code == 404
