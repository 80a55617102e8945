"""An owner brings people in from a file, as a spreadsheet wrote it."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.flows import steps
from tests.flows.system import System

pytestmark = [pytest.mark.timeout(600), pytest.mark.xdist_group("flows")]


def _open(page: Page, system: System) -> None:
    steps.sign_in(page, system)
    steps.go_to(page, "Campaigns")
    page.get_by_role("link", name="Edit").first.click()
    page.get_by_role("link", name="Participants").click()
    page.get_by_role("link", name="Import").click()


def test_an_owner_imports_people_and_mends_a_line(page: Page, system: System, tmp_path: Path) -> None:
    # Others of this system's tests may have imported before.
    name = f"new.{uuid.uuid4().hex[:12]}"
    file = tmp_path / "people.csv"
    file.write_bytes(f"E-Mail;Vorname;First name\n{name}@friends.example;x;Zoë\nno address;x;Nobody\n".encode("utf-16"))
    _open(page, system)
    page.get_by_label("CSV file").set_input_files(file)
    page.get_by_role("button", name="Go on").click()
    expect(page.get_by_text("Columns left out")).to_be_visible()
    expect(page.get_by_text("@-sign")).to_be_visible()
    page.get_by_role("button", name="Import without the lines that are wrong").click()
    expect(page.get_by_text("No email was sent to anybody.")).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("link", name="This line as CSV").click()
    lines = Path(download.value.path()).read_text("utf-8-sig").splitlines()
    assert lines[0] == "E-Mail,Vorname,First name,Line,What is wrong"
    assert lines[1].startswith("no address,x,Nobody,3,")
    page.get_by_role("link", name="See the participants").click()
    expect(page.get_by_text(f"{name}@friends.example")).to_be_visible()


def test_it_says_that_a_file_is_far_too_large(page: Page, system: System, tmp_path: Path) -> None:
    file = tmp_path / "people.csv"
    with file.open("wb") as large:
        large.truncate(49_000_000)
    _open(page, system)
    page.get_by_label("CSV file").set_input_files(file)
    page.get_by_role("button", name="Go on").click()
    expect(page.get_by_text("larger than 10 MB")).to_be_visible()
