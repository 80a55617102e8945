"""Every page in both modes and widths: axe finds nothing, nothing is wider than the window; and without JavaScript."""

from __future__ import annotations

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.flows import steps
from tests.flows.system import System
from tests.support.mailserver import MailServer

pytestmark = [pytest.mark.timeout(600), pytest.mark.xdist_group("flows")]

SIGNED_OUT = [
    "/login",
    "/forgot",
    "/help",
    "/help/gmail",
    "/help/outlook",
    "/u/nonsense",
    "/invitation/nonsense",
    "/no-such-page",
]
SIGNED_IN = [
    "/",
    "/campaigns",
    "/campaigns/new",
    "/deliveries",
    "/deliveries?state=failed",
    "/deliveries/many?what=resend&to=example",
    "/deliveries/many?what=mark_as_sent&state=uncertain",
    "/suppressions",
    "/settings/email",
    "/settings/security",
    "/settings/security/password",
    "/settings/account",
    "/settings/users",
    "/settings/api-keys",
    "/settings/data",
    "/settings/audit",
    "/mailbox",
    "/help",
]


def _pages_of_the_demo(page: Page, system: System) -> list[str]:
    """Pages whose addresses hold an id."""
    found = []
    steps.manage_email(page)
    found.append(page.url)
    steps.open_notification(page)
    found.append(page.url)
    found.append(page.url.rsplit("/", 1)[0])
    campaign = page.url.split("/notifications")[0]
    found += [f"{campaign}/edit", f"{campaign}/participants", f"{campaign}/blasts"]
    page.goto(f"{campaign}/blasts")
    for link in [str(one.get_attribute("href")) for one in page.locator("table tbody th a").all()]:
        found += [f"{system.url}{link}", f"{system.url}{link}/send"]
    page.goto(f"{campaign}/participants")
    page.locator("table tbody th a").first.click()
    found.append(page.url)
    page.goto(f"{system.url}/deliveries?state=uncertain")
    page.locator("table tbody a").first.click()
    found.append(page.url)
    return [url.removeprefix(system.url) for url in found]


def _problems(page: Page, where: str) -> list[str]:
    found = [
        f"{where}: {violation['id']}: {violation['help']}: {violation['nodes'][0]['html'][:160]}"
        for violation in Axe().run(page).response["violations"]
    ]
    return [*found, *_too_wide(page, where)]


def _too_wide(page: Page, where: str) -> list[str]:
    wider = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    # Whoever meets a table in a region of its own can move it.
    tables = "[...document.querySelectorAll('table')].filter(one => !one.closest('.table-responsive'))"
    cut = page.evaluate(f"Math.max(0, ...{tables}.map(one => one.scrollWidth - one.parentElement.clientWidth))")
    return [
        *([f"{where}: {wider} px wider than the window"] if wider > 0 else []),
        *([f"{where}: a table {cut} px wider than its card"] if cut > 0 else []),
    ]


@pytest.mark.parametrize("mode", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_axe_finds_nothing_on_any_page(browser: Browser, system: System, mode: str, width: int) -> None:
    context = browser.new_context(
        viewport={"width": width, "height": 900},
        color_scheme="dark" if mode == "dark" else "light",
        reduced_motion="reduce",
    )
    page = context.new_page()
    problems = []
    for path in SIGNED_OUT:
        page.goto(f"{system.url}{path}")
        problems += _problems(page, path)
    wide = browser.new_context(viewport={"width": 1280, "height": 900})
    finder = wide.new_page()
    steps.sign_in(finder, system)
    paths = SIGNED_IN + _pages_of_the_demo(finder, system)
    context.add_cookies(wide.cookies())
    for path in paths:
        page.goto(f"{system.url}{path}")
        expect(page.locator("html")).to_have_attribute("data-bs-theme", mode)
        problems += _problems(page, path)
        if width == 1280 and mode == "light":
            # The narrowest window that has the navigation beside the page.
            page.set_viewport_size({"width": 992, "height": 900})
            problems += _too_wide(page, f"{path} at 992")
            page.set_viewport_size({"width": width, "height": 900})
    wide.close()
    context.close()
    assert problems == [], "\n".join(problems)


# Where the first row of a list has words that somebody chose.
CHOSEN = {
    "/": "[data-label=Campaign] a",
    "/deliveries": "td[data-label=What] div",
    "/campaigns": "tbody th a",
    "/suppressions": "tbody th",
}


@pytest.mark.parametrize("width", [1280, 992, 390])
@pytest.mark.parametrize("path", CHOSEN)
def test_a_long_word_makes_no_list_wider(page: Page, system: System, path: str, width: int) -> None:
    steps.sign_in(page, system)
    page.goto(f"{system.url}{path}")
    page.set_viewport_size({"width": width, "height": 900})
    words = page.locator(CHOSEN[path]).first
    words.evaluate("one => { one.firstChild.textContent = 'Blast: ' + 'recipient.first_name'.repeat(4); }")
    assert _too_wide(page, path) == []


def test_the_walk_without_javascript(
    browser: Browser, system: System, own: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = browser.new_context(java_script_enabled=False, viewport={"width": 1280, "height": 900})
    context.set_default_timeout(40_000)
    page = context.new_page()
    steps.sign_in(page, system)
    steps.manage_email(page)
    own.messages.clear()
    # A password that no other test has used: settings that have passed a test are saved without another one.
    monkeypatch.setattr(own, "password", "only without JavaScript")
    steps.enter_server(page, own.port, password="only without JavaScript")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator("[data-result=ok]")).to_be_visible(timeout=40_000)
    steps.open_notification(page)
    steps.send_test(page)
    expect(page.locator("[data-result=sent]")).to_be_visible(timeout=40_000)
    [letter] = own.wait_for(1)
    assert letter.sender == steps.ADDRESS
    # Other tests find the password as they know it, and no server that wants this one.
    steps.manage_email(page)
    page.get_by_role("button", name="Remove", exact=True).click()
    expect(page.get_by_text("Removed, with its password.")).to_be_visible()
    context.close()
