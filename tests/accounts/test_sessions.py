"""What somebody without a session gets, by the kind of request."""

from __future__ import annotations

from tests.support.world import World

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
