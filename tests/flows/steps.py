"""What a person does in the panel, by the words they see."""

from __future__ import annotations

import re

from playwright.sync_api import Locator, Page, expect

from tests.flows.system import SMTP_PASSWORD, SMTP_USER, System

CAMPAIGN, ADDRESS = "Spring referrals", "hello@acme-coffee.example"


def sign_in(page: Page, system: System) -> None:
    """Signs in as the demo's owner."""
    login = system.login()
    assert login is not None
    page.goto(f"{system.url}/login")
    page.get_by_label("Email").fill(login[0])
    page.get_by_label("Password", exact=True).fill(login[1])
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("navigation", name="Main")).to_be_visible()


def go_to(page: Page, entry: str) -> None:
    """Chooses an entry of the left-hand navigation."""
    page.get_by_role("navigation", name="Main").get_by_role("link", name=entry, exact=True).click()


def manage_email(page: Page) -> None:
    """Settings → the demo's address → Manage Email."""
    go_to(page, "Settings")
    page.get_by_role("link", name="Manage Email").first.click()
    expect(page.get_by_label("Port")).to_be_visible()


def enter_server(
    page: Page, port: int, *, security: str = "starttls", username: str = SMTP_USER, password: str = SMTP_PASSWORD
) -> None:
    """Fills in the SMTP form for a server on this machine."""
    page.locator("[name=host]").fill("localhost" if security != "none" else "127.0.0.1")
    page.locator("[name=port]").fill(str(port))
    page.locator("select[name=security]").select_option(security)
    page.locator("[name=username]").fill(username)
    page.locator("[name=password]").fill(password)


def result_of(page: Page, timeout: float = 40_000) -> str:
    """Waits until the live task is over and says how it ended."""
    done = page.locator("[data-live-task][data-result]")
    done.wait_for(timeout=timeout)
    found = done.get_attribute("data-result")
    assert found is not None
    return found


def states_of(page: Page) -> dict[str, str]:
    """The steps that the page shows, with their states."""
    shown: Locator = page.locator("[data-step]")
    return {str(one.get_attribute("data-step")): str(one.get_attribute("data-state")) for one in shown.all()}


def open_notification(page: Page, title: str = "Welcome") -> None:
    """Campaigns → the demo's campaign → Edit → Email notifications → a notification's Edit."""
    go_to(page, "Campaigns")
    page.get_by_role("link", name=re.compile("^Edit")).first.click()
    page.get_by_role("link", name="Email notifications").click()
    page.get_by_role("listitem").filter(has_text=title).or_(page.get_by_role("row").filter(has_text=title)).get_by_role(
        "link", name=re.compile("^Edit")
    ).first.click()
    expect(page.get_by_role("button", name="Send test email")).to_be_visible()


def send_test(page: Page) -> None:
    """Presses *Send test email*."""
    page.get_by_role("button", name="Send test email").click()
