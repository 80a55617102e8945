"""Who may read the capture mailbox, and what its pages do with letters that are somebody else's HTML."""

from __future__ import annotations

from email.message import EmailMessage
from pathlib import Path

import pytest

from panel.mailbox.capture import Folder
from tests.support.world import World

HTML = "<script>alert(1)</script><p>Hello</p>"


@pytest.fixture
def letter_id(world: World, tmp_path: Path) -> str:
    directory = tmp_path / "mailbox"
    directory.mkdir()
    world.reconfigure(OWNPOST_MAILBOX_DIR=str(directory))
    message = EmailMessage()
    message["From"] = "Ownpost <notifications@localhost>"
    message["Subject"] = "<b>New</b> password"
    message.set_content("Go to http://127.0.0.1:8000/reset/abc now.\n<script>alert(2)</script>")
    message.add_alternative(HTML, subtype="html")
    return Folder(directory).add(mail_from="", rcpt_tos=["a@example.test"], content=message.as_bytes())


def test_it_is_read_on_this_machine_without_signing_in(world: World, letter_id: str):
    page = world.client().get("/mailbox")
    assert page.status_code == 200
    assert f'href="/mailbox/{letter_id}"' in page.text
    assert "&lt;b&gt;New&lt;/b&gt; password" in page.text


@pytest.mark.parametrize(
    "request_of",
    [
        {"environ_overrides": {"REMOTE_ADDR": "192.0.2.7"}},
        {"environ_overrides": {"REMOTE_ADDR": "::ffff:192.0.2.7"}},
        {"headers": {"X-Forwarded-For": "127.0.0.1"}},
        {"headers": {"Forwarded": "for=192.0.2.7"}},
        {"headers": {"Host": "mail.example.test"}},
        {"headers": {"Host": "127.0.0.1.example.test:8000"}},
    ],
)
@pytest.mark.parametrize("who", [None, "owner"])
def test_it_is_not_there_for_anybody_elsewhere(
    world: World, letter_id: str, request_of: dict[str, object], who: str | None
):
    browser = world.client(getattr(world, who) if who else None)
    for path in ("/mailbox", f"/mailbox/{letter_id}", f"/mailbox/{letter_id}/html", f"/mailbox/{letter_id}/raw"):
        answer = browser.get(path, **request_of)
        assert answer.status_code == 404


@pytest.mark.parametrize("host", ["localhost", "localhost:8000", "127.0.0.1:8000", "[::1]:8000", "[::1]"])
def test_it_knows_this_machine_by_its_names(world: World, letter_id: str, host: str):
    assert world.client().get("/mailbox", headers={"Host": host}).status_code == 200


def test_it_makes_links_in_the_text_part_and_nothing_else(world: World, letter_id: str):
    page = world.client().get(f"/mailbox/{letter_id}")
    assert '<a href="http://127.0.0.1:8000/reset/abc"' in page.text
    assert "&lt;script&gt;alert(2)&lt;/script&gt;" in page.text
    assert "<script>alert" not in page.text


def test_it_confines_the_html_part(world: World, letter_id: str):
    answer = world.client().get(f"/mailbox/{letter_id}/html")
    assert answer.text.strip() == HTML
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'")
    assert "script-src" not in policy


def test_it_gives_the_letter_to_the_byte(world: World, letter_id: str, tmp_path: Path):
    answer = world.client().get(f"/mailbox/{letter_id}/raw")
    assert answer.data == (tmp_path / "mailbox" / f"{letter_id}.eml").read_bytes()
    assert answer.mimetype == "text/plain"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("path", ["/mailbox/nothing", "/mailbox/nothing/html", "/mailbox/nothing/raw"])
def test_it_answers_404_for_what_it_does_not_have(world: World, letter_id: str, path: str):
    assert world.client().get(path).status_code == 404


def test_it_is_not_there_without_a_mailbox(world: World):
    assert world.client().get("/mailbox").status_code == 404
