"""Somebody asks to be forgotten, and the owner finds the way; then what the log says of it."""

from __future__ import annotations

import zipfile

import pytest
from playwright.sync_api import Page, expect

from tests.flows import steps
from tests.flows.system import System

pytestmark = [pytest.mark.timeout(600), pytest.mark.xdist_group("flows")]


def test_an_owner_deletes_a_person_and_finds_it_in_the_log(page: Page, system: System) -> None:
    steps.sign_in(page, system)
    steps.go_to(page, "Campaigns")
    page.get_by_role("link", name="Edit").first.click()
    page.get_by_role("link", name="Participants").click()
    page.get_by_label("Email address", exact=True).fill("forget.me@friends.example")
    page.get_by_label("First name").fill("Forget")
    page.get_by_role("button", name="Add", exact=True).click()
    page.get_by_role("link", name="Forget", exact=True).click()
    page.get_by_role("button", name="Delete this person").click()
    dialog = page.get_by_role("dialog", name="Delete forget.me@friends.example?")
    dialog.get_by_role("button", name="Delete").click()
    expect(page.get_by_text("Deleted.")).to_be_visible()
    page.get_by_label("Search by name or email address").fill("forget.me")
    page.get_by_role("button", name="Search").click()
    expect(page.get_by_text("Nobody found")).to_be_visible()
    steps.go_to(page, "Settings")
    page.get_by_role("link", name="Audit log").click()
    page.get_by_label("What", exact=True).select_option("Participant deleted")
    page.get_by_role("button", name="Show").click()
    row = page.locator("tr[data-action='participant.deleted']").first
    expect(row).to_contain_text("owner@acme-coffee.example")
    expect(page.locator("main")).not_to_contain_text("forget.me")


def test_an_owner_takes_everything_away_in_a_zip(page: Page, system: System) -> None:
    steps.sign_in(page, system)
    steps.go_to(page, "Settings")
    page.get_by_role("link", name="Data", exact=True).click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Export everything").click()
    with zipfile.ZipFile(download.value.path()) as archive:
        assert archive.testzip() is None
        assert b"example" in archive.read("participants.jsonl")
