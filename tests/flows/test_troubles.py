"""A server whose password is refused: the banner leads to the form, and goes with what waits once the form is right."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.flows import steps
from tests.flows.system import System
from tests.support.mailserver import MailServer
from tests.support.wait import wait_for

pytestmark = [pytest.mark.timeout(600), pytest.mark.xdist_group("flows")]

TITLE = "Your mail server for hello@acme-coffee.example needs a look"


def _change(system: System, statement: str) -> int:
    with sqlite3.connect(system.data_dir / "ownpost.sqlite3", timeout=10) as database:
        return database.execute(statement).rowcount


def _connect(page: Page, port: int) -> None:
    steps.manage_email(page)
    steps.enter_server(page, port)
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("Saved and on").first).to_be_visible(timeout=40_000)


def _picture(page: Page, name: str) -> None:
    if folder := os.environ.get("OWNPOST_PICTURES"):
        page.screenshot(path=Path(folder) / f"{name}.png")


def test_the_banner_leads_to_the_form_and_goes_with_what_waits(page: Page, system: System, own: MailServer) -> None:
    steps.sign_in(page, system)
    _connect(page, own.port)
    own.messages.clear()
    own.password, right = "another one by now", own.password
    try:
        steps.open_notification(page)
        steps.send_test(page)
        wait_for(
            lambda: _change(system, "UPDATE mail_servers SET port = port WHERE state = 'paused'"), 20, what="a rest"
        )
        page.goto(f"{system.url}/campaigns")
        banner = page.locator("#troubles .notice")
        expect(banner).to_contain_text(TITLE)
        banner.get_by_role("link", name="Manage Email").click()
        expect(page.locator("#troubles")).to_contain_text(TITLE)
        own.password = right
        steps.enter_server(page, own.port)
        page.get_by_role("button", name="Save", exact=True).click()
        expect(page.get_by_text("Saved and on").first).to_be_visible(timeout=40_000)
        expect(page.locator("#troubles .notice")).to_have_count(0)
        own.wait_for(1, timeout=20)
        page.goto(f"{system.url}/campaigns")
        expect(page.locator("#troubles .notice")).to_have_count(0)
    finally:
        own.password = right


@pytest.mark.parametrize("mode", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_axe_finds_nothing_in_the_banner(
    browser: Browser, system: System, own: MailServer, mode: str, width: int
) -> None:
    # At 390 the navigation is folded away, so that the server is set up at full width first.
    context = browser.new_context(
        viewport={"width": 1280, "height": 900}, color_scheme="dark" if mode == "dark" else "light"
    )
    page = context.new_page()
    steps.sign_in(page, system)
    if not _change(system, "UPDATE mail_servers SET port = port WHERE enabled"):
        _connect(page, own.port)
    page.set_viewport_size({"width": width, "height": 900})
    try:
        for reason, until in (
            ("credentials", "NULL"),
            ("server", "'2031-01-15 23:30:00.000000'"),
            ("quota", "'2031-01-15 23:30:00.000000'"),
        ):
            _change(
                system, f"UPDATE mail_servers SET state = 'paused', paused_reason = '{reason}', paused_until = {until}"
            )
            for path in ("/campaigns", "/"):
                page.goto(f"{system.url}{path}")
                expect(page.locator("#troubles .notice")).to_have_count(1)
                found = Axe().run(page).response["violations"]
                assert [one["id"] for one in found] == []
                assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
            _picture(page, f"{reason}-{width}-{mode}")
    finally:
        _change(system, "UPDATE mail_servers SET state = 'ready', paused_reason = NULL, paused_until = NULL")
        context.close()
