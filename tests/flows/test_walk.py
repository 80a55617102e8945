"""The help article's walk, word for word: from sign-in to a letter that the owner's own server accepted."""

from __future__ import annotations

import email
import email.policy
from email.message import EmailMessage

import pytest
from playwright.sync_api import Page, expect

from tests.flows import steps
from tests.flows.conftest import SlowServer
from tests.flows.system import System
from tests.support.mailserver import MailServer, ScriptedServer

pytestmark = [pytest.mark.timeout(600), pytest.mark.xdist_group("flows")]

ALL_STEPS = ["resolve", "connect", "greeting", "tls", "hello", "auth", "sender", "recipient", "quit"]


@pytest.fixture(autouse=True)
def without_own_server(page: Page, system: System, own: MailServer) -> None:
    """Each test begins signed in, at an address without an own server, and with nothing received."""
    steps.sign_in(page, system)
    steps.manage_email(page)
    remove = page.get_by_role("button", name="Remove", exact=True)
    if remove.count():
        remove.click()
        page.get_by_role("dialog").get_by_role("button", name="Remove").click()
        expect(remove).to_have_count(0)
    own.messages.clear()
    steps.manage_email(page)


def _read(own: MailServer) -> EmailMessage:
    [letter] = own.wait_for(1)
    read = email.message_from_bytes(letter.content, policy=email.policy.default)
    assert isinstance(read, EmailMessage)
    return read


def test_the_article_word_for_word(page: Page, own: MailServer) -> None:
    steps.enter_server(page, own.port)
    page.get_by_role("button", name="Test connection").click()
    assert steps.result_of(page) == "ok"
    states = steps.states_of(page)
    assert list(states) == ALL_STEPS
    assert set(states.values()) == {"ok"}
    expect(page.locator("[data-step=tls]")).to_contain_text("TLS 1.3")
    assert own.messages == []  # never DATA
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("Saved and on.").first).to_be_visible()

    steps.open_notification(page)
    steps.send_test(page)
    assert steps.result_of(page) == "sent"
    read = _read(own)
    assert read["From"].addresses[0].addr_spec == steps.ADDRESS
    assert read["From"].addresses[0].display_name == "Acme Coffee"
    assert read["Reply-To"] is None
    assert own.messages[0].sender == steps.ADDRESS
    login_address = own.messages[0].recipients[0]
    assert read["To"].addresses[0].addr_spec == login_address
    assert read["Subject"]
    assert str(read["Auto-Submitted"]) == "auto-generated"
    assert read["Date"]
    for kind in ("plain", "html"):
        part = read.get_body((kind,))
        assert part is not None
        assert "ROBIN42" in part.get_content()
    expect(page.locator("[data-live-task]")).to_contain_text(str(read["Message-ID"]).strip("<>"))

    steps.go_to(page, "Deliveries")
    expect(page.get_by_text(login_address).first).to_be_visible()


def test_save_tests_first_and_turns_the_server_on(page: Page, own: MailServer) -> None:
    steps.enter_server(page, own.port)
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("Saved and on").first).to_be_visible(timeout=40_000)
    steps.go_to(page, "Settings")
    expect(page.get_by_text("verified").first).to_be_visible()


def test_without_an_own_server_the_platforms_server_sends_in_the_owners_name(page: Page, system: System) -> None:
    steps.open_notification(page)
    steps.send_test(page)
    assert steps.result_of(page) == "sent"
    page.goto(f"{system.url}/mailbox")
    page.get_by_role("link", name="Welcome").first.click()
    expect(page.get_by_text("via Ownpost").first).to_be_visible()


def test_a_wrong_password_says_so_keeps_what_was_typed_and_leads_to_help(page: Page, own: MailServer) -> None:
    steps.enter_server(page, own.port, password="not the password")
    page.get_by_role("button", name="Save", exact=True).click()
    assert steps.result_of(page) == "failed"
    failed = page.locator("[data-step=auth]")
    expect(failed).to_have_attribute("data-code", "auth_failed")
    expect(failed.get_by_role("link")).to_have_attribute("href", "/help#auth_failed")
    expect(page.locator("[name=port]")).to_have_value(str(own.port))
    expect(page.locator("[name=password]")).to_have_value("not the password")
    assert "not the password" not in page.locator("[data-live-task]").inner_text()
    steps.go_to(page, "Settings")
    expect(page.get_by_text("Platform server").first).to_be_visible()


def test_a_test_can_be_canceled(page: Page, stalling: ScriptedServer) -> None:
    steps.enter_server(page, stalling.port, security="none")
    page.get_by_role("button", name="Test connection").click()
    expect(page.locator("[data-step=greeting][data-state=running]")).to_be_visible()
    page.get_by_role("button", name="Cancel").click()
    assert steps.result_of(page, 20_000) == "canceled"
    expect(page.locator("[data-step=greeting]")).to_have_attribute("data-state", "canceled")


def test_a_test_send_survives_a_reload_in_mid_stream(page: Page, slow: SlowServer) -> None:
    steps.enter_server(page, slow.port, security="none", username="", password="")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("Saved and on").first).to_be_visible(timeout=40_000)
    steps.open_notification(page)
    slow.go_on.clear()
    steps.send_test(page)
    expect(page.locator("[data-step=sender][data-state=running]")).to_be_visible()
    page.reload()
    expect(page.locator("[data-live-task]")).to_be_visible()
    slow.go_on.set()
    assert steps.result_of(page) == "sent"


def test_a_test_send_survives_a_lost_connection(page: Page, slow: SlowServer) -> None:
    steps.enter_server(page, slow.port, security="none", username="", password="")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("Saved and on").first).to_be_visible(timeout=40_000)
    steps.open_notification(page)
    slow.go_on.clear()
    steps.send_test(page)
    expect(page.locator("[data-step=sender][data-state=running]")).to_be_visible()
    page.context.set_offline(True)
    slow.go_on.set()
    page.wait_for_timeout(1000)
    page.context.set_offline(False)
    assert steps.result_of(page) == "sent"
