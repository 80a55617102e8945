"""What somebody without a session gets, by the kind of request."""

from __future__ import annotations

import time

import pytest
import time_machine
from flask_login.utils import encode_cookie

from tests.signin.kit import give_password, set_up_app
from tests.support.world import PASSWORD, Browser, World

# With its streaming extension, htmx accepts event streams in every request.
HTMX = {"HX-Request": "true", "Accept": "text/html, text/event-stream"}
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


def test_a_page_learns_whether_its_sign_in_goes_on(world: World):
    answer = world.client().get("/login/state")
    assert answer.json["person"] == ""
    assert "no-store" in answer.headers["Cache-Control"]
    browser = world.client(world.owner)
    page = browser.get("/campaigns").get_data(as_text=True)
    state = browser.get("/login/state").json
    assert f'data-person="{state["person"]}"' in page
    assert browser.client.post("/campaigns/new", data={"csrf_token": state["csrf"]}).status_code == 422


def test_it_says_when_a_form_is_of_another_sign_in(world: World):
    form = {"csrf_token": "of another", "name": "Spring"}
    page = world.client(world.owner).client.post("/campaigns/new", data=form)
    text = page.get_data(as_text=True)
    assert page.status_code == 400
    assert "Your sign-in has ended or changed" in text
    assert "Reload" not in text


def test_it_ends_a_stream_with_401(world: World):
    answer = world.client().get("/deliveries", headers=STREAM)
    assert answer.status_code == 401
    assert "Location" not in answer.headers


def test_it_sends_a_plain_form_to_the_sign_in_form(world: World):
    browser = world.client()
    browser.get("/login")
    answer = browser.post("/settings/email", {"email": "hello@acme.test"})
    assert answer.status_code == 303
    # It cannot be sent again by following a link, so it is not what a sign-in leads back to.
    assert answer.location == "/login"


def submits(browser: Browser, token: str) -> int:
    """The status of a change with that token of a page."""
    form = {"csrf_token": token, "email": "no address"}
    return browser.client.post("/settings/email", data=form).status_code


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
class TestTokenOfForms:
    def test_one_of_before_the_sign_in_is_of_no_use_after_it(self, world: World):
        """Somebody may have put their own session, whose token they know, into the browser."""
        browser = world.client()
        browser.get("/login")
        known = browser._token
        browser.submit("/login", email=world.owner.email, password=PASSWORD)
        assert submits(browser, known) == 400
        browser.get("/settings/email")
        assert submits(browser, known) == 400
        assert submits(browser, browser._token) == 422

    def test_neither_of_before_the_second_factor(self, world: World):
        _, codes = set_up_app(world.client(world.owner))
        browser = give_password(world, world.owner)
        known = browser._token
        assert browser.post("/login/second", {"recovery_code": codes[0]}).status_code == 303
        assert submits(browser, known) == 400


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
    cookie = world.client().get("/login").headers["Set-Cookie"]
    assert cookie.startswith("__Host-ownpost=")
    assert "Secure" in cookie
    assert "Path=/" in cookie
    assert "Domain" not in cookie


HOUR, DAY = 3600, 86_400


def sign_in(world: World, **fields: str) -> Browser:
    browser = world.client()
    browser.submit("/login", email=world.owner.email, password=PASSWORD, **fields)
    return browser


def in_use(browser: Browser, hours: int) -> bool:
    """Whether somebody who clicks every hour is still signed in after so many."""
    began = time.time()
    for hour in range(1, hours + 1):
        with time_machine.travel(began + hour * HOUR):
            last = browser.signed_in()
    return last


def after(browser: Browser, seconds: int) -> bool:
    with time_machine.travel(time.time() + seconds):
        return browser.signed_in()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
class TestLengths:
    def test_it_ends_a_sign_in_that_nobody_uses(self, world: World):
        assert after(sign_in(world), 7 * HOUR)
        assert not after(sign_in(world), 8 * HOUR + 60)

    def test_it_lasts_for_a_day_at_most(self, world: World):
        assert in_use(sign_in(world), 23)
        assert not in_use(sign_in(world), 25)

    def test_it_is_not_prolonged_by_a_page_that_asks_by_itself(self, world: World):
        browser = sign_in(world)
        with time_machine.travel(time.time() + 7 * HOUR):
            assert browser.get("/deliveries", headers=HTMX).status_code == 200
        assert not after(browser, 9 * HOUR)

    def test_it_keeps_a_sign_in_for_two_weeks_where_that_is_wanted(self, world: World):
        assert after(sign_in(world, remember="y"), 13 * DAY)
        assert not after(sign_in(world, remember="y"), 14 * DAY + 60)

    def test_it_keeps_it_in_the_browser_only_then(self, world: World):
        for fields, kept in (({}, False), ({"remember": "y"}, True)):
            cookie = sign_in(world, **fields).client.get_cookie("ownpost")
            assert cookie
            assert (cookie.max_age is not None or cookie.expires is not None) is kept

    def test_it_sends_somebody_whose_time_is_over_to_the_sign_in_form(self, world: World):
        browser = sign_in(world)
        with time_machine.travel(time.time() + 9 * HOUR):
            assert browser.get("/deliveries").location == "/login?next=/deliveries"
            assert browser.get("/login").status_code == 200

    def test_it_takes_no_cookie_that_remembers_for_ever(self, world: World):
        with world.app.test_request_context():
            forever = encode_cookie(world.owner.fs_uniquifier)
        browser = world.client()
        browser.client.set_cookie("remember_token", forever)
        assert not browser.signed_in()
        assert browser.get("/login").status_code == 200
        assert browser.client.get_cookie("remember_token") is None

    def test_it_takes_no_token_in_place_of_a_session(self, world: World):
        with world.app.test_request_context():
            user = world.app.extensions["security"].datastore.find_user(email=world.owner.email)
            token = user.get_auth_token()
        browser = world.client()
        for options in ({"headers": {"Authentication-Token": token}}, {"query_string": {"auth_token": token}}):
            assert browser.get("/deliveries", **options).status_code == 302
