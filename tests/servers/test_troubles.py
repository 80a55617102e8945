"""The banner about servers that rest: on every page, to the form, until they work again."""

from __future__ import annotations

import datetime as dt
import re

import pytest
from sqlalchemy import event, update

from panel import db
from panel.accounts import service as accounts
from panel.servers import service as servers
from panel.servers.models import MailServer as Row
from tests.deliveries.conftest import Post, platform, post

__all__ = ["platform", "post"]

PAGES = ["/", "/campaigns", "/deliveries", "/settings/email", "/help", "/suppressions"]
UNTIL = dt.datetime(2031, 1, 15, 23, 30, tzinfo=dt.UTC)


def rest(post: Post, reason: str, *, until: dt.datetime | None = None) -> None:
    with post.world.acme_scope():
        route = servers.route_of(post.address_id)
        assert route.server_id is not None
        assert route.server_version is not None
        assert servers.pause(route.server_id, route.server_version, reason=reason, until=until, error="")


def page(post: Post, path: str = "/help") -> str:
    text = post.world.client(post.world.owner).get(path).get_data(as_text=True)
    assert isinstance(text, str)
    return " ".join(re.sub(r"<[^>]+>", "", text).split())


@pytest.fixture
def own(post: Post) -> Post:
    post.use(2525, username="u", password="secret-canary")
    return post


def test_it_is_on_every_page_and_leads_to_the_form(own: Post) -> None:
    browser = own.world.client(own.world.owner)
    form = f'href="/settings/email/{own.address_id}/server"'
    for path in PAGES:
        assert "needs a look" not in browser.get(path).get_data(as_text=True)
    rest(own, "credentials")
    for path in PAGES:
        text = browser.get(path).get_data(as_text=True)
        assert text.count('<p class="notice-title">Your mail server for hello@acme.test needs a look') == 1, path
        assert form in text
        assert "secret-canary" not in text
    assert "needs a look" not in own.world.client(own.world.stranger).get("/campaigns").get_data(as_text=True)
    assert "needs a look" not in own.world.client().get("/help").get_data(as_text=True)


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("credentials", "It refused the user name or password. Enter them again and test"),
        ("password_unreadable", "Its stored password can no longer be read. Enter it again"),
        ("sender_refused", "It does not let you send from this address."),
        ("destination_not_allowed", "may not be reached from here"),
        ("server", "It could not be reached, or did not work."),
        ("quota", "The sending limit of your mail server for hello@acme.test is used up"),
    ],
)
def test_it_says_what_is_wrong(own: Post, reason: str, words: str) -> None:
    rest(own, reason, until=UNTIL if reason in ("server", "quota") else None)
    assert words in page(own)


def test_it_says_until_when_in_the_accounts_time_zone(own: Post) -> None:
    with db.system_scope("tests"), db.transaction() as session:
        session.execute(update(accounts.Account).values(time_zone="Asia/Tokyo"))
    rest(own, "quota", until=UNTIL)
    assert "Letters wait and go on by themselves on 16 Jan 2031, 08:30. Nothing is lost." in page(own)


def test_it_says_that_the_platform_server_stands_in(own: Post) -> None:
    with own.world.acme_scope():
        servers.choose_fallback(own.address_id, fallback=True, by=servers.By())
    rest(own, "server", until=UNTIL)
    assert "Meanwhile letters go out through the platform’s server, as you have chosen" in page(own)


def test_it_goes_when_the_settings_pass_a_test_or_are_turned_off(own: Post) -> None:
    rest(own, "credentials")
    own.use(2525, username="u", password="another-canary")
    assert "needs a look" not in page(own)
    rest(own, "credentials")
    with own.world.acme_scope():
        servers.disable(own.address_id, servers.By())
    assert "needs a look" not in page(own)


def test_a_member_is_led_to_what_is_set(own: Post) -> None:
    rest(own, "credentials")
    text = own.world.client(own.world.member).get("/campaigns").get_data(as_text=True)
    assert "See its settings" in text


def test_where_nothing_is_wrong_it_costs_one_query(own: Post) -> None:
    asked: list[str] = []
    with own.world.acme_scope():
        engine = db.session().get_bind()
        event.listen(engine, "before_cursor_execute", lambda *given: asked.append(given[2]))
        assert servers.troubles() == []
        assert [text for text in asked if text != "BEGIN"] == asked[-1:]
        db.release()
        with db.system_scope("tests"), db.transaction() as session:
            session.execute(update(Row).values(state="paused", paused_reason="quota"))
        assert [one.reason for one in servers.troubles()] == ["quota"]
