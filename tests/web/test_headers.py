"""Headers on every answer, whatever the route and whoever asks."""

from __future__ import annotations

import re

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from panel.web import access
from tests.guards.test_access import KINDS, rules
from tests.support.world import Browser, World

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

EVERYWHERE = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


@pytest.fixture
def app(world: World, tmp_path) -> Flask:
    """The app with every blueprint it can have."""
    world.reconfigure(OWNPOST_MAILBOX_DIR=str(tmp_path))
    return world.app


def answers(app: Flask, *browsers: Browser) -> list[tuple[str, TestResponse]]:
    """What every route says to each of them, by GET and by POST, with and without a token."""
    found = [(f"GET {url}", browser.get(url)) for browser in browsers for _, url in rules(app, "GET", *KINDS)]
    posted = [(rule, url) for rule, url in rules(app, "POST", *KINDS) if rule.endpoint != "security.logout"]
    found += [(f"POST {url}", browser.client.post(url)) for browser in browsers for _, url in posted]
    found += [(f"POST {url}", browser.post(url)) for browser in browsers for _, url in posted]
    static = app.test_client().get("/static/app.js")
    return [*found, ("static", static), ("nothing", app.test_client().get("/no-such-page"))]


def policy(answer: TestResponse) -> dict[str, str]:
    parts = [part.strip() for part in answer.headers.get("Content-Security-Policy", "").split(";")]
    return {name: value for name, _, value in (part.partition(" ") for part in parts)}


def test_it_sets_them_on_every_answer(app: Flask, world: World):
    problems = []
    for where, answer in answers(app, Browser(app.test_client()), world.client(world.owner)):
        problems += [f"{where}: {name}" for name, value in EVERYWHERE.items() if answer.headers.get(name) != value]
        problems += [f"{where}: frames"] if answer.headers.get("X-Frame-Options") not in ("DENY", "SAMEORIGIN") else []
        problems += [f"{where}: permissions"] if "camera=()" not in answer.headers.get("Permissions-Policy", "") else []
        problems += [f"{where}: server {answer.status_code}"] if answer.status_code == 500 else []
        problems += [f"{where}: policy"] if policy(answer).get("default-src") != "'none'" else []
        problems += [f"{where}: framed"] if "frame-ancestors" not in policy(answer) else []
        problems += (
            [f"{where}: scripts"] if policy(answer).get("script-src", "'none'") not in ("'self'", "'none'") else []
        )
        problems += [f"{where}: charset"] if _has_text_without_charset(answer) else []
        answer.close()
    assert problems == []


def _has_text_without_charset(answer: TestResponse) -> bool:
    kind = answer.headers.get("Content-Type", "")
    return bool(answer.data) and kind.startswith("text/") and "charset=utf-8" not in kind.lower().replace("; ", ";")


def test_it_allows_neither_inline_nor_eval(app: Flask):
    found = policy(app.test_client().get("/login"))
    assert found["script-src"] == found["style-src"] == "'self'"
    assert found["base-uri"] == "'none'"
    assert found["form-action"] == "'self'"
    assert found["frame-ancestors"] == "'none'"
    assert not re.search("unsafe|eval|https?:|\\*", " ".join(found.values()))


def test_it_keeps_pages_out_of_every_cache(app: Flask, world: World):
    for where, answer in answers(app, world.client(world.owner)):
        if where != "static":
            assert "no-store" in answer.headers["Cache-Control"], where
        answer.close()


def test_it_asks_for_tls_only_where_there_is_some(app: Flask, world: World):
    assert "Strict-Transport-Security" not in app.test_client().get("/login").headers
    world.reconfigure(OWNPOST_PUBLIC_URL="https://mail.example.com")
    found = world.app.test_client().get("/login").headers["Strict-Transport-Security"]
    assert int(re.search(r"max-age=(\d+)", found)[1]) >= 31_536_000


def test_it_sends_every_cookie_safely(app: Flask, world: World):
    world.reconfigure(OWNPOST_PUBLIC_URL="https://mail.example.com")
    browser = Browser(world.app.test_client())
    secure = {"base_url": "https://mail.example.com"}
    browser.get("/login", **secure)
    from tests.support.world import PASSWORD

    form = {"email": world.owner.email, "password": PASSWORD, "remember": "y"}
    headers = {"Referer": "https://mail.example.com/login"}
    answer = browser.post("/login", form, headers=headers, **secure)
    assert answer.status_code == 302
    cookies = answer.headers.getlist("Set-Cookie")
    assert {cookie.partition("=")[0] for cookie in cookies} == {"__Host-ownpost", "__Host-ownpost-device"}
    for cookie in cookies:
        assert {"Secure", "HttpOnly", "SameSite=Lax", "Path=/"} <= set(cookie.split("; "))
        assert "Domain=" not in cookie


def test_it_takes_no_change_without_its_token(app: Flask, world: World):
    """CSRF: every way to change something, as a form and as htmx sends it, for somebody who is signed in."""
    browser = world.client(world.owner)
    ways = ("POST", "PUT", "PATCH", "DELETE")
    taken = set()
    for way in ways:
        for rule, url in rules(app, way, access.PUBLIC, access.SIGNED_IN, access.OWNER):
            for headers in ({}, {"HX-Request": "true"}, {"X-CSRFToken": "made up"}):
                if browser.client.open(url, method=way, headers=headers).status_code != 400:
                    taken.add(rule.endpoint)
    assert taken == {"suppressions.unsubscribe"}


def test_it_takes_the_token_from_the_header_that_htmx_sends(world: World):
    browser = world.client(world.owner)
    page = browser.get("/settings/email").get_data(as_text=True)
    token = re.search(r'hx-headers:inherited=\'{"X-CSRFToken": "([^"]+)"}\'', page)[1]
    answer = browser.client.post(
        "/settings/email", data={"email": "no address"}, headers={"HX-Request": "true", "X-CSRFToken": token}
    )
    assert answer.status_code == 422


def test_it_takes_no_token_of_another_browser(world: World):
    here, there = world.client(world.owner), world.client(world.owner)
    there.get("/settings/email")
    answer = here.client.post("/settings/email", data={"email": "a@b.test", "csrf_token": there._token})
    assert answer.status_code == 400
