"""Who may read the capture mailbox, and what its pages do with letters that are somebody else's HTML."""

from __future__ import annotations

from email.message import EmailMessage
from pathlib import Path

import pytest

from panel.mailbox import key
from panel.mailbox.capture import Folder
from tests.support.world import PASSWORD, Browser, World

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


def near(world: World) -> Browser:
    """Somebody who has opened the link that `ownpost up` prints."""
    browser = world.client()
    answer = browser.get(f"/mailbox?key={key.link_key(world.settings.secret_key)}")
    assert (answer.status_code, answer.location) == (303, "/mailbox")
    return browser


def test_it_is_read_by_the_printed_link_without_signing_in(world: World, letter_id: str):
    page = near(world).get("/mailbox")
    assert page.status_code == 200
    assert f'href="/mailbox/{letter_id}"' in page.text
    assert "&lt;b&gt;New&lt;/b&gt; password" in page.text


def paths(letter_id: str) -> list[str]:
    return ["/mailbox", *(f"/mailbox/{letter_id}{part}" for part in ("", "/html", "/raw"))]


@pytest.mark.parametrize("who", [None, "member", "stranger"])
def test_a_tunnel_that_says_nothing_leads_to_no_letter(world: World, letter_id: str, who: str | None):
    """To `ssh -L` or a plain proxy with the host name written anew, a stranger looks like somebody on this machine."""
    browser = world.client(getattr(world, who) if who else None)
    browser.client.set_cookie("ownpost-mailbox", key.link_key(world.settings.secret_key))
    for path in (*paths(letter_id), "/mailbox?key=", f"/mailbox?key={key.cookie_value(world.settings.secret_key)}"):
        answer = browser.get(path)
        assert answer.status_code == 403
        assert "Open it by the link" in answer.text
    assert 'href="/mailbox"' not in browser.get("/help").text


def test_whoever_made_the_first_account_reads_it_when_signed_in(world: World, letter_id: str):
    browser = world.client(world.owner)
    assert 'href="/mailbox"' in browser.get("/").text
    for path in paths(letter_id):
        assert browser.get(path).status_code == 200


def test_the_printed_link_shows_the_way_in_the_navigation(world: World, letter_id: str):
    browser = near(world)
    browser.submit("/login", email=world.member.email, password=PASSWORD)
    assert 'href="/mailbox"' in browser.get("/").text


def test_the_cookie_of_the_link_is_for_this_browser_alone(world: World, letter_id: str):
    answer = world.client().get(f"/mailbox?key={key.link_key(world.settings.secret_key)}")
    [cookie] = [value for value in answer.headers.getlist("Set-Cookie") if value.startswith("ownpost-mailbox=")]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie


@pytest.mark.parametrize(
    "request_of",
    [
        {"environ_overrides": {"REMOTE_ADDR": "192.0.2.7"}},
        {"environ_overrides": {"REMOTE_ADDR": "::ffff:192.0.2.7"}},
        {"headers": {"X-Forwarded-For": "127.0.0.1"}},
        {"headers": {"Forwarded": "for=192.0.2.7"}},
        {"headers": {"X-Forwarded-Host": "mail.example.test"}},
        {"headers": {"X-Forwarded-Proto": "https"}},
        {"headers": {"Via": "1.1 proxy"}},
        {"headers": {"CF-Connecting-IP": "192.0.2.7"}},
        {"headers": {"Ngrok-Auth-User-Email": "a@example.test"}},
        {"headers": {"Host": "mail.example.test"}},
        {"headers": {"Host": "127.0.0.1.example.test:8000"}},
    ],
)
@pytest.mark.parametrize("who", [None, "owner"])
def test_it_is_not_there_for_anybody_elsewhere(
    world: World, letter_id: str, request_of: dict[str, object], who: str | None
):
    browser = world.client(world.owner) if who else near(world)
    for path in (*paths(letter_id), f"/mailbox?key={key.link_key(world.settings.secret_key)}"):
        answer = browser.get(path, **request_of)
        assert answer.status_code == 404


@pytest.mark.parametrize("host", ["localhost", "localhost:8000", "127.0.0.1:8000", "[::1]:8000", "[::1]"])
def test_it_knows_this_machine_by_its_names(world: World, letter_id: str, host: str):
    path = f"/mailbox?key={key.link_key(world.settings.secret_key)}"
    assert world.client().get(path, headers={"Host": host}).status_code == 303


def test_it_makes_links_in_the_text_part_and_nothing_else(world: World, letter_id: str):
    page = near(world).get(f"/mailbox/{letter_id}")
    assert '<a href="http://127.0.0.1:8000/reset/abc"' in page.text
    assert "&lt;script&gt;alert(2)&lt;/script&gt;" in page.text
    assert "<script>alert" not in page.text


def test_it_confines_the_html_part(world: World, letter_id: str):
    answer = near(world).get(f"/mailbox/{letter_id}/html")
    assert answer.text.strip() == HTML
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'")
    assert "script-src" not in policy


def test_it_gives_the_letter_to_the_byte(world: World, letter_id: str, tmp_path: Path):
    answer = near(world).get(f"/mailbox/{letter_id}/raw")
    assert answer.data == (tmp_path / "mailbox" / f"{letter_id}.eml").read_bytes()
    assert answer.mimetype == "text/plain"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("path", ["/mailbox/nothing", "/mailbox/nothing/html", "/mailbox/nothing/raw"])
def test_it_answers_404_for_what_it_does_not_have(world: World, letter_id: str, path: str):
    assert near(world).get(path).status_code == 404


def test_it_is_not_there_without_a_mailbox(world: World):
    assert world.client(world.owner).get("/mailbox").status_code == 404
