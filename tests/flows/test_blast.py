"""A blast in a browser: from an empty draft to the last letter, by real workers."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.flows import steps
from tests.flows.system import System
from tests.support.mailserver import MailServer

pytestmark = [pytest.mark.timeout(600), pytest.mark.xdist_group("flows")]


def _own_server(page: Page, own: MailServer) -> None:
    """The demo's address sends by the owner's own server."""
    steps.manage_email(page)
    steps.enter_server(page, own.port)
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("Saved and on").first).to_be_visible(timeout=40_000)
    own.messages.clear()


def _draft(page: Page) -> None:
    """Campaigns → the demo's campaign → Blasts → Write a blast."""
    steps.go_to(page, "Campaigns")
    page.get_by_role("link", name=steps.CAMPAIGN).first.click()
    page.get_by_role("link", name="Blasts").click()
    page.get_by_role("button", name="Write a blast").click()
    expect(page.get_by_role("heading", name="Blast")).to_be_visible()


def _people(page: Page) -> int:
    """How many the blast goes to, as the page before sending says: tests of imports may have added some."""
    forecast = page.locator("[data-forecast]")
    expect(forecast).to_contain_text(re.compile(r"\d+ people"))
    found = re.search(r"(\d+) people", forecast.inner_text())
    assert found is not None
    count = int(found[1])
    assert count >= 13  # of the demo
    return count


def test_a_blast_is_written_tested_and_sent(page: Page, system: System, own: MailServer) -> None:
    steps.sign_in(page, system)
    _own_server(page, own)
    _draft(page)
    page.get_by_label("Subject").fill("Summer is here, {{ recipient.first_name }}")
    frame = page.frame_locator("iframe[name=letter-preview]")
    page.get_by_label("Body, as HTML").fill("<h1>Ice coffee</h1><p>{{ referrer.referral_link }}</p>")
    expect(frame.get_by_role("heading", name="Ice coffee")).to_be_visible()
    expect(page.locator("#preview")).to_contain_text("Summer is here, Robin")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("Nothing has been sent").first).to_be_visible()
    steps.send_test(page)
    assert steps.result_of(page) == "sent"
    [test] = own.wait_for(1)
    own.messages.clear()
    assert b"Ice coffee" in test.content

    page.get_by_role("button", name="Save and go on to sending").click()
    expect(page.get_by_role("heading", name="Before you send")).to_be_visible()
    people = _people(page)
    expect(page.get_by_text("1 person of this audience is left out")).to_be_visible()
    assert own.messages == []
    page.get_by_role("button", name=f"Send to {people} people").click()
    expect(page.locator("[data-live-task]")).to_be_visible()
    page.reload()
    assert steps.result_of(page, 60_000) == "done"
    expect(page.locator("[data-count=sent]")).to_have_text(str(people))
    expect(page.locator("[data-count=left_out]")).to_have_text("1")
    letters = own.wait_for(people)
    assert len({one.recipients for one in letters}) == len(letters) == people
    assert {one.sender for one in letters} == {steps.ADDRESS}


def test_a_blast_is_paused_resumed_and_canceled_while_its_page_looks_on(
    page: Page, system: System, own: MailServer
) -> None:
    steps.sign_in(page, system)
    _own_server(page, own)
    # Every letter waits: the server says "not now" to each.
    own.answer = lambda verb, _argument: "451 4.3.0 Try again later" if verb == "RCPT" else None
    try:
        _draft(page)
        page.get_by_role("button", name="Save and go on to sending").click()
        people = _people(page)
        page.get_by_role("button", name=f"Send to {people} people").click()
        page.get_by_role("button", name="Pause").click()
        expect(page.locator("[data-progress=paused]")).to_be_visible()
        expect(page.get_by_text(re.compile("wait until you resume it"))).to_be_visible()
        page.get_by_role("button", name="Resume").click()
        expect(page.locator("[data-progress=sending]")).to_be_visible()
        page.get_by_role("button", name="Cancel the rest").click()
        # What the stream brings meanwhile may put another button in its place.
        asking = page.locator("[data-confirm='Cancel the rest of this blast?']")
        asking.evaluate("button => button.replaceWith(button.cloneNode(true))")
        page.get_by_role("dialog").get_by_role("button", name="Cancel the rest").click()
        assert steps.result_of(page, 60_000) == "canceled"
        expect(page.locator("[data-count=canceled]")).to_have_text(str(people))
    finally:
        own.answer = lambda _verb, _argument: None
    assert own.messages == []


def test_a_blast_without_javascript(browser: Browser, system: System, own: MailServer) -> None:
    context = browser.new_context(java_script_enabled=False, viewport={"width": 390, "height": 900})
    context.set_default_timeout(40_000)
    page = context.new_page()
    login = system.login()
    assert login is not None
    page.goto(f"{system.url}/login")
    page.get_by_label("Email").fill(login[0])
    page.get_by_label("Password", exact=True).fill(login[1])
    page.get_by_role("button", name="Sign in").click()
    # By the platform's server: an own one may rest for what an earlier test had it say.
    steps.manage_email(page)
    remove = page.get_by_role("button", name="Remove", exact=True)
    if remove.count():
        remove.click()
        expect(page.get_by_text("Removed, with its password.")).to_be_visible()
    page.goto(f"{system.url}/campaigns")
    page.get_by_role("link", name=steps.CAMPAIGN).first.click()
    page.get_by_role("link", name="Blasts").click()
    page.get_by_role("button", name="Write a blast").click()
    page.get_by_label("Referrers").check()
    page.get_by_role("button", name="Save and go on to sending").click()
    people = _people(page)
    page.get_by_role("button", name=f"Send to {people} people").click()
    # The page asks again by itself.
    expect(page.locator("[data-result=done]")).to_be_visible(timeout=60_000)
    expect(page.locator("[data-count=sent]")).to_have_text(str(people))
    context.close()
