"""Signing in with a second factor, and the password once more, as a person sees it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
import time_machine
from playwright.sync_api import Dialog, Page, expect
from werkzeug.serving import make_server

from panel.accounts.models import User
from panel.addresses import service as addresses
from panel.campaigns import service as campaigns
from panel.servers import routing
from panel.servers import service as servers
from tests.support.world import PASSWORD, World

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.xdist_group("flows"),
    pytest.mark.parametrize("database_url", ["sqlite"], indirect=True),
]

# A device that holds passkeys and always sees its owner's finger.
AUTHENTICATOR = {
    "protocol": "ctap2",
    "transport": "internal",
    "hasResidentKey": True,
    "hasUserVerification": True,
    "isUserVerified": True,
    "automaticPresenceSimulation": True,
}


class _Door:
    """Stands before the app, which is made again once its port is known."""

    def __init__(self, world: World) -> None:
        self._world = world

    def __call__(self, environ, start_response):
        return self._world.app(environ, start_response)


@pytest.fixture
def url(world: World) -> Iterator[str]:
    """The app under a name that browsers take passkeys for, in this process, so that its time can be moved."""
    server = make_server("127.0.0.1", 0, _Door(world), threaded=True)
    address = f"http://localhost:{server.server_port}"
    world.reconfigure(OWNPOST_PUBLIC_URL=address)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield address
    server.shutdown()
    thread.join()
    server.server_close()


def give_password(page: Page, url: str, world: World, user: User | None = None) -> None:
    page.goto(f"{url}/login")
    page.get_by_label("Email").fill((user or world.owner).email)
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()


def test_a_passkey_is_added_and_asked_for(page: Page, url: str, world: World) -> None:
    devtools = page.context.new_cdp_session(page)
    devtools.send("WebAuthn.enable")
    devtools.send("WebAuthn.addVirtualAuthenticator", {"options": AUTHENTICATOR})
    give_password(page, url, world)
    page.goto(f"{url}/settings/security")
    page.get_by_label("Name of the passkey").fill("My laptop")
    page.get_by_role("button", name="Add a passkey").click()
    page.get_by_role("button", name="Make the passkey").click()
    expect(page.get_by_role("heading", name="Your recovery codes")).to_be_visible(timeout=40_000)
    expect(page.locator("#recovery-codes li")).to_have_count(10)
    page.get_by_role("link", name="I have kept them").click()
    expect(page.get_by_text("My laptop")).to_be_visible()

    page.get_by_role("button", name="Sign out", exact=True).click()
    give_password(page, url, world)
    expect(page.get_by_role("heading", name="One more step")).to_be_visible()
    page.get_by_role("button", name="Use a passkey").click()
    expect(page.get_by_role("navigation", name="Main")).to_be_visible()


def test_the_password_is_asked_for_over_the_page_and_nothing_typed_is_lost(page: Page, url: str, world: World) -> None:
    with world.acme_scope():
        address_id = addresses.add_confirmed(email="hello@acme.test", display_name="Acme").id
    give_password(page, url, world)
    expect(page.get_by_role("navigation", name="Main")).to_be_visible()
    page.goto(f"{url}/settings/email/{address_id}/server")
    with time_machine.travel(time.time() + 16 * 60):
        page.locator("[name=host]").fill("smtp.acme.test")
        page.locator("[name=username]").fill("hello@acme.test")
        page.locator("[name=password]").fill("what was typed")
        page.get_by_role("button", name="Save as draft").click()
        question = page.get_by_role("dialog", name="Please confirm that it is you")
        expect(question).to_be_visible()
        question.get_by_role("button", name="Cancel").click()
        expect(question).to_be_hidden()
        expect(page.locator("[name=host]")).to_have_value("smtp.acme.test")

        page.get_by_role("button", name="Save as draft").click()
        expect(question).to_be_visible()
        question.get_by_label("Your Ownpost password").fill("wrong")
        question.get_by_role("button", name="Go on").click()
        expect(page.get_by_text("That is not your password.")).to_be_visible()
        page.get_by_label("Your Ownpost password").fill(PASSWORD)
        page.get_by_role("button", name="Go on").click()
        expect(page.get_by_text("Kept as a draft")).to_be_visible()
    with world.acme_scope():
        server = servers.for_address(address_id)
        assert server is not None
        assert (server.host, routing.stored_password(server)) == ("smtp.acme.test", "what was typed")


def test_what_is_typed_outlives_the_sign_in(page: Page, url: str, world: World) -> None:
    with world.acme_scope():
        address_id = addresses.add_confirmed(email="hello@acme.test", display_name="Acme").id
    give_password(page, url, world)
    # One form that the browser sends, and one that htmx does.
    for path, typed, button, saved in (
        ("/campaigns/new", ["name", "company_name"], "Add the campaign", "Say where referral links lead"),
        (f"/settings/email/{address_id}/server", ["host", "username", "password"], "Save as draft", "Kept as a draft"),
    ):
        page.goto(f"{url}{path}")
        for name in typed:
            page.locator(f"[name={name}]").fill("typed.for.long")
        page.context.clear_cookies()
        press = page.get_by_role("button", name=button)
        press.click()
        words = page.get_by_text("Your sign-in has ended")
        expect(words).to_be_visible()
        with page.context.expect_page() as opened:
            page.locator("#messages").get_by_role("link", name="Sign in").click()
        give_password(opened.value, url, world)
        expect(opened.value.get_by_role("navigation", name="Main")).to_be_visible()
        opened.value.close()
        page.evaluate("dispatchEvent(new Event('focus'))")
        expect(words).to_be_hidden()
        assert [page.locator(f"[name={name}]").input_value() for name in typed] == ["typed.for.long"] * len(typed)
        press.click()
        expect(page.get_by_text(saved).first).to_be_visible()


def test_what_is_typed_is_not_sent_in_the_name_of_somebody_else(page: Page, url: str, world: World) -> None:
    give_password(page, url, world)
    page.goto(f"{url}/campaigns/new")
    for name in ("name", "company_name"):
        page.locator(f"[name={name}]").fill("typed for long")
    page.context.clear_cookies()
    other = page.context.new_page()
    give_password(other, url, world, world.stranger)
    expect(other.get_by_role("navigation", name="Main")).to_be_visible()
    page.get_by_role("button", name="Add the campaign").click()
    expect(page.get_by_text("signed in as somebody else by now")).to_be_visible()
    assert page.locator("[name=name]").input_value() == "typed for long"
    with world.acme_scope():
        assert [one.name for one in campaigns.campaigns()] == []


def test_a_form_that_was_refused_and_is_untouched_holds_nothing_unsaved(page: Page, url: str, world: World) -> None:
    """Its token is another by then, which nobody has typed."""
    with world.acme_scope():
        address_id = addresses.add_confirmed(email="hello@acme.test", display_name="Acme").id
    give_password(page, url, world)
    expect(page.get_by_role("navigation", name="Main")).to_be_visible()
    page.goto(f"{url}/settings/email/{address_id}/server")
    before = page.locator("form[data-dirty-check] [name=csrf_token]").input_value()
    page.route("**/server*", lambda route: route.fulfill(status=400, content_type="text/plain", body="Not now."))
    page.wait_for_timeout(1_100)  # a token tells its second
    page.get_by_role("button", name="Save as draft").click()
    expect(page.get_by_text("Not now.")).to_be_visible()
    assert page.locator("form[data-dirty-check] [name=csrf_token]").input_value() != before
    page.unroute("**/server*")
    asked: list[str] = []

    def answer(dialog: Dialog) -> None:
        asked.append(dialog.type)
        dialog.accept()

    page.on("dialog", answer)
    page.goto(f"{url}/campaigns")
    assert asked == []
    # While what was typed there does ask.
    page.goto(f"{url}/settings/email/{address_id}/server")
    page.locator("[name=host]").fill("smtp.acme.test")
    page.goto(f"{url}/campaigns")
    assert asked == ["beforeunload"]
