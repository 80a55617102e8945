"""The preview: the letter in a frame that can do nothing, and who it comes from."""

from __future__ import annotations

import re
import uuid

import redis

from panel import db, previews
from panel.campaigns.service import Campaign
from panel.servers.service import MailServer
from tests.campaigns.test_pages import an_address
from tests.support.world import World

WORDS = {"subject": "Hello {{ referrer.first_name }}", "preheader": "", "html": "<h1>Look</h1>", "text": ""}
HTMX = {"HX-Request": "true"}


def frame_path(page: str) -> str:
    found = re.search(r'<iframe[^>]*src="\s*([^"\s]+)', page)
    assert found is not None
    return found[1]


def test_it_shows_the_saved_letter_in_a_frame_that_can_do_nothing(world: World, editor: str) -> None:
    browser = world.client(world.member)
    page = browser.get(editor).text
    assert re.search(r"<iframe[^>]* sandbox ", page)
    letter = browser.get(frame_path(page))
    assert "Welcome, Robin!" in letter.text
    assert "https://acme.example/r/ROBIN42" in letter.text
    assert "Unsubscribe" in letter.text
    policy = letter.headers["Content-Security-Policy"]
    assert policy.startswith("sandbox; default-src 'none';")
    assert "script-src" not in policy
    assert letter.headers["X-Frame-Options"] == "SAMEORIGIN"


def test_it_previews_what_nobody_has_saved(world: World, editor: str) -> None:
    browser = world.client(world.owner)
    browser.get(editor)
    fragment = browser.post(f"{editor}/preview", WORDS, headers=HTMX)
    assert fragment.status_code == 200
    assert "Hello Robin" in fragment.text
    assert "<h1>Look</h1>" in browser.get(frame_path(fragment.text)).text
    assert world.client(world.stranger).get(frame_path(fragment.text)).status_code == 404
    assert "Hello Robin" not in browser.get(editor).text


def test_it_keeps_the_last_letter_while_the_words_are_wrong(world: World, editor: str) -> None:
    browser = world.client(world.owner)
    browser.get(editor)
    good = browser.post(f"{editor}/preview", WORDS, headers=HTMX).text
    token = frame_path(good).rpartition("/")[2]
    wrong = browser.post(f"{editor}/preview", {**WORDS, "html": "\n{{ nope }}", "shown": token}, headers=HTMX)
    assert wrong.status_code == 200
    assert "Line 2, {{ nope }}" in wrong.text
    assert frame_path(wrong.text) == frame_path(good)


def test_it_previews_without_javascript(world: World, editor: str) -> None:
    browser = world.client(world.owner)
    browser.get(editor)
    letter = browser.post(f"{editor}/preview", WORDS)
    assert "<h1>Look</h1>" in letter.text
    assert letter.headers["Content-Security-Policy"].startswith("sandbox;")
    wrong = browser.post(f"{editor}/preview", {**WORDS, "html": "{{ nope }}<script>alert(1)</script>"})
    assert wrong.status_code == 422
    assert "{{ nope }}" in wrong.text
    assert "<script>" not in wrong.text


def test_it_says_so_when_a_preview_is_forgotten(world: World, editor: str, redis_client: redis.Redis) -> None:
    browser = world.client(world.owner)
    browser.get(editor)
    path = frame_path(browser.post(f"{editor}/preview", WORDS, headers=HTMX).text)
    redis_client.flushdb()
    forgotten = browser.get(path)
    assert forgotten.status_code == 404
    assert "forgotten" in forgotten.text


def test_no_more_than_the_latest_previews_of_an_account_are_kept(world: World, redis_client: redis.Redis) -> None:
    with world.app.app_context():
        with db.account_scope(world.stranger.account_id):
            others = previews.keep("<p>theirs</p>")
        with world.acme_scope():
            tokens = [previews.keep(f"<p>{number}</p>") for number in range(30)]
            assert None not in tokens
            found = [previews.kept(token) for token in tokens if token]
        with db.account_scope(world.stranger.account_id):
            assert others
            assert previews.kept(others) == "<p>theirs</p>"
    assert found == [None] * 10 + [f"<p>{number}</p>" for number in range(10, 30)]
    assert len(list(redis_client.scan_iter(match=f"ownpost:preview:{world.acme.id}:*"))) == 20


def test_it_previews_the_saved_letter_when_redis_is_away(world: World, editor: str) -> None:
    world.reconfigure(REDIS_URL="unix:///nowhere/redis.sock")
    browser = world.client(world.owner)
    page = browser.get(editor)
    assert page.status_code == 200
    assert "Welcome, Robin!" in browser.get(frame_path(page.text)).text
    assert browser.post(f"{editor}/preview", WORDS, headers=HTMX).status_code == 200


def envelopes(page: str) -> dict[str, str]:
    """The two ways with what each shows, as text."""
    found = re.findall(r'data-envelope="(\w+)"(.*?)</section>', page, re.DOTALL)
    return {way: re.sub(r"<[^>]+>|\s+", " ", shown) for way, shown in found}


def test_it_shows_who_the_letter_comes_from_without_an_address(world: World, editor: str) -> None:
    page = world.client(world.owner).get(editor).text
    assert set(envelopes(page)) == {"without"}
    assert "Add an outbound address" in page


def test_it_shows_the_sender_without_and_with_an_own_server(world: World, editor: str, campaign: Campaign) -> None:
    address = an_address(world, is_default=True)
    page = world.client(world.member).get(editor).text
    shown = envelopes(page)
    assert "Acme via Ownpost &lt;notifications@localhost&gt;" in shown["without"]
    assert "hello@acme.test" in shown["without"]
    assert "Acme &lt;hello@acme.test&gt;" in shown["with"]
    assert "data-in-force" in shown["without"]
    assert "data-in-force" not in shown["with"]
    assert f"/settings/email/{address.id}/server" in page


def test_it_marks_the_own_server_once_it_is_on(world: World, editor: str) -> None:
    address = an_address(world, is_default=True)
    with world.acme_scope(), db.transaction() as session:
        server = MailServer(
            id=uuid.uuid4(), address_id=address.id, host="smtp.acme.test", port=587, security="starttls"
        )
        server.fingerprint_verified, server.verified_at, server.enabled = "checked", db.now(), True
        session.add(server)
    shown = envelopes(world.client(world.owner).get(editor).text)
    assert "data-in-force" in shown["with"]
    assert "smtp.acme.test:587" in shown["with"]
    assert "data-in-force" not in shown["without"]
