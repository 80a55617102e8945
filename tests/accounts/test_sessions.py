"""What somebody without a session gets, by the kind of request."""

from __future__ import annotations

import pytest

from tests.support.world import World

HTMX = {"HX-Request": "true"}
STREAM = {"Accept": "text/event-stream"}


def test_it_tells_htmx_to_go_to_the_sign_in_form(world: World):
    answer = world.client().get("/deliveries", headers=HTMX)
    assert answer.status_code == 401
    assert answer.headers["HX-Redirect"] == "/login"
    assert answer.mimetype == "text/plain"


def test_it_brings_htmx_back_to_the_page_it_came_from(world: World):
    headers = {**HTMX, "HX-Current-URL": "http://localhost/campaigns?page=2"}
    answer = world.client().get("/deliveries", headers=headers)
    assert answer.headers["HX-Redirect"] == "/login?next=/campaigns?page%3D2"


def test_it_takes_no_host_from_htmx(world: World):
    headers = {**HTMX, "HX-Current-URL": "https://evil.example/campaigns"}
    assert world.client().get("/deliveries", headers=headers).headers["HX-Redirect"] == "/login?next=/campaigns"


@pytest.mark.parametrize("headers", [STREAM, {**STREAM, **HTMX}])
def test_it_ends_a_stream_with_401(world: World, headers: dict[str, str]):
    answer = world.client().get("/deliveries", headers=headers)
    assert answer.status_code == 401
    assert "Location" not in answer.headers


def test_it_sends_a_plain_form_to_sign_in_without_repeating_it(world: World):
    browser = world.client(world.owner)
    browser.get("/help")
    token = browser._token
    browser.post("/logout")
    browser.get("/login")
    answer = browser.client.post("/help", data={"csrf_token": token})
    assert answer.status_code in (400, 405)


def test_it_lets_nobody_in_by_a_cookie_signed_with_another_key(world: World):
    browser = world.client(world.owner)
    world.reconfigure(OWNPOST_SECRET_KEY="quite another secret key than the one before")
    cookie = browser.client.get_cookie("ownpost")
    assert cookie
    stolen = world.client()
    stolen.client.set_cookie("ownpost", cookie.value)
    assert not stolen.signed_in()


def test_it_keeps_cookies_from_scripts_and_other_sites(world: World):
    answer = world.client().get("/login")
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert "Secure" not in cookie
    assert "no-store" in answer.headers["Cache-Control"]


def test_it_marks_cookies_secure_under_https(world: World):
    world.reconfigure(OWNPOST_PUBLIC_URL="https://mail.example.com")
    assert "Secure" in world.client().get("/login").headers["Set-Cookie"]
