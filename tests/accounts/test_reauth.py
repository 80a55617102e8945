"""The password once more before a sensitive change, and nothing that was typed is lost over it."""

from __future__ import annotations

import base64
import html
import io
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import time_machine
from flask import session
from flask_login import login_user
from werkzeug.test import TestResponse

from panel.accounts import service as accounts
from panel.addresses import service as addresses
from panel.servers import routing
from panel.servers import service as servers
from panel.web import reauth, sessions
from tests.support.world import PASSWORD, Browser, World

SMTP_PASSWORD = "canary in the smtp mine"
DRAFT = {
    "preset": "other", "host": "smtp.acme.test", "port": "587", "security": "starttls", "auth": "plain",
    "username": "hello@acme.test", "password": SMTP_PASSWORD, "action": "draft",
}  # fmt: skip
HTMX = {"HX-Request": "true"}


class Case:
    """An address of Acme's, and its owner, who signed in a while ago."""

    def __init__(self, world: World) -> None:
        self.world = world
        with world.acme_scope():
            self.address_id = addresses.add_confirmed(email="hello@acme.test", display_name="Acme").id
        self.url = f"/settings/email/{self.address_id}/server"
        self.browser = world.client(world.owner)

    def host(self) -> str | None:
        """What is stored."""
        with self.world.acme_scope():
            server = servers.for_address(self.address_id)
            return server.host if server else None


@pytest.fixture
def case(world: World) -> Case:
    return Case(world)


@contextmanager
def later(minutes: float = 16) -> Iterator[None]:
    with time_machine.travel(time.time() + minutes * 60):
        yield


def field(answer: TestResponse, name: str) -> str:
    found = re.search(rf'name="{name}" value="([^"]*)"', answer.get_data(as_text=True))
    assert found, answer.get_data(as_text=True)
    return html.unescape(found[1])


def reply(browser: Browser, url: str, asked: TestResponse, password: str = PASSWORD, **options) -> TestResponse:
    return browser.post(url, {"reauth_form": field(asked, "reauth_form"), "reauth_password": password}, **options)


def test_it_does_not_ask_within_15_minutes(case: Case):
    with later(14):
        assert case.browser.post(case.url, DRAFT).location == case.url
    assert case.host() == "smtp.acme.test"


def test_it_asks_after_15_minutes_and_then_goes_on(case: Case):
    with later():
        asked = case.browser.post(case.url, DRAFT)
        assert asked.status_code == 422
        assert "Please confirm that it is you" in asked.get_data(as_text=True)
        assert case.host() is None
        assert reply(case.browser, case.url, asked).location == case.url
        assert case.host() == "smtp.acme.test"
        with case.world.acme_scope():
            stored = routing.stored_password(servers.for_address(case.address_id))
        assert stored == SMTP_PASSWORD


def test_it_does_not_ask_again_for_a_while(case: Case):
    with later():
        reply(case.browser, case.url, case.browser.post(case.url, DRAFT))
        assert case.browser.post(f"{case.url}/remove").status_code == 303
    with later(16 + 16):
        assert case.browser.post(case.url, DRAFT).status_code == 422


def test_it_is_not_put_off_by_being_here(case: Case):
    """Flask-Security's own grace would extend itself with every click."""
    for minutes in (5, 10, 14, 16):
        with later(minutes):
            status = case.browser.post(case.url, DRAFT).status_code
    assert status == 422


def test_it_writes_no_secret_that_was_typed_into_the_page(case: Case):
    with later():
        asked = case.browser.post(case.url, DRAFT)
    page = asked.get_data(as_text=True)
    assert SMTP_PASSWORD not in page
    assert "smtp.acme.test" not in page
    sealed = field(asked, "reauth_form").rpartition(".")[2]
    assert b"canary" not in base64.b64decode(sealed)


def test_it_asks_again_after_a_wrong_password_and_keeps_what_was_typed(case: Case):
    with later():
        asked = case.browser.post(case.url, DRAFT)
        again = reply(case.browser, case.url, asked, "wrong")
        assert again.status_code == 422
        assert "That is not your password." in again.get_data(as_text=True)
        assert case.host() is None
        reply(case.browser, case.url, again)
    assert case.host() == "smtp.acme.test"


def test_it_lets_the_password_be_tried_a_few_times_only(case: Case):
    with later():
        asked = case.browser.post(case.url, DRAFT)
        for _ in range(5):
            asked = reply(case.browser, case.url, asked, "wrong")
            assert asked.status_code == 422
        refused = reply(case.browser, case.url, asked)
        assert refused.status_code == 429
        assert 1 <= int(refused.headers["Retry-After"]) <= 60
        assert case.host() is None
    with later(18):
        # What was typed is still there.
        reply(case.browser, case.url, refused)
    assert case.host() == "smtp.acme.test"


def test_it_keeps_what_was_typed_for_ten_minutes(case: Case):
    with later():
        asked = case.browser.post(case.url, DRAFT)
    with later(16 + 11):
        late = reply(case.browser, case.url, asked)
        assert late.status_code == 400
        assert "kept for ten minutes" in late.get_data(as_text=True)
    assert case.host() is None


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
class TestSeal:
    def test_it_is_of_no_use_to_another_sign_in(self, case: Case):
        other = case.world.client(case.world.owner)
        with later():
            asked = case.browser.post(case.url, DRAFT)
            assert reply(other, case.url, asked).status_code == 400
        assert case.host() is None

    def test_it_is_of_no_use_at_another_address(self, case: Case):
        with later():
            asked = case.browser.post(case.url, DRAFT)
            assert reply(case.browser, f"{case.url}/fallback", asked).status_code == 400

    def test_it_takes_nothing_that_it_has_not_sealed(self, case: Case):
        with later():
            for made_up in ("", "v1.k.AAAA", "nonsense"):
                form = {**DRAFT, "reauth_form": made_up, "reauth_password": PASSWORD}
                assert case.browser.post(case.url, form).status_code == 400
        assert case.host() is None

    def test_it_is_protected_from_other_sites_like_any_form(self, case: Case):
        with later():
            asked = case.browser.post(case.url, DRAFT)
            form = {"reauth_form": field(asked, "reauth_form"), "reauth_password": PASSWORD}
            assert case.browser.client.post(case.url, data=form).status_code == 400
        assert case.host() is None

    def test_it_keeps_fields_that_are_there_several_times(self, case: Case):
        typed = [("tag", "one"), ("tag", "two"), ("empty", ""), ("words", "ü\r\n“x”")]
        data = {"tag": ["one", "two"], "empty": "", "words": "ü\r\n“x”"}
        with case.world.app.test_request_context("/x?y=1", method="POST", data=data):
            login_user(case.world.owner, force=True)
            session["sign_in_id"] = "one"
            fields, files = reauth._unsealed(reauth._sealed())
            assert list(fields.items(multi=True)) == typed
            assert list(files) == []

    def test_it_keeps_files(self, case: Case):
        """A certificate, say."""
        data = {"note": "x", "file": (io.BytesIO(b"\x00\xffbytes"), "ca.pem"), "none": (io.BytesIO(b""), "")}
        with case.world.app.test_request_context("/x", method="POST", data=data):
            login_user(case.world.owner, force=True)
            session["sign_in_id"] = "one"
            fields, files = reauth._unsealed(reauth._sealed())
        assert dict(fields) == {"note": "x"}
        assert [(name, file.filename, file.read()) for name, file in files.items()] == [
            ("file", "ca.pem", b"\x00\xffbytes")
        ]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
class TestHtmx:
    def test_it_asks_in_a_dialog_over_the_page(self, case: Case):
        with later():
            asked = case.browser.post(case.url, DRAFT, headers=HTMX)
        assert asked.status_code == 422
        assert asked.headers["HX-Retarget"] == "#reauth"
        text = asked.get_data(as_text=True)
        assert "<dialog" in text
        assert "<html" not in text
        assert SMTP_PASSWORD not in text

    def test_it_goes_on_by_the_dialog(self, case: Case):
        with later():
            asked = case.browser.post(case.url, DRAFT, headers=HTMX)
            assert reply(case.browser, case.url, asked).location == case.url
        assert case.host() == "smtp.acme.test"

    def test_it_has_a_place_for_the_dialog_on_every_page(self, case: Case):
        assert 'id="reauth"' in case.browser.get(case.url).get_data(as_text=True)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
class TestBack:
    @pytest.mark.parametrize(
        ("referrer", "back"),
        [
            ("http://localhost/settings/email?x=1", "/settings/email?x=1"),
            ("https://evil.example/settings", "/"),
            ("http://localhost//evil.example", "/"),
            ("", "/"),
        ],
    )
    def test_it_leads_back_to_the_form_and_never_elsewhere(self, case: Case, referrer: str, back: str):
        with later():
            asked = case.browser.post(case.url, DRAFT, headers={"Referer": referrer})
        assert f'<a href="{back}">Back, without doing it</a>' in asked.get_data(as_text=True)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
class TestWhatAsks:
    def test_a_connection_test_does_not(self, case: Case):
        with later():
            answer = case.browser.post(case.url, {**DRAFT, "action": "test"})
        assert "/tests/" in answer.location

    def test_saving_does(self, case: Case):
        with later():
            assert case.browser.post(case.url, {**DRAFT, "action": "save"}).status_code == 422

    def test_another_address_does(self, case: Case):
        with later():
            asked = case.browser.post("/settings/email", {"email": "sales@acme.test", "display_name": "Acme"})
            assert asked.status_code == 422
            assert reply(case.browser, "/settings/email", asked).status_code == 303
        with case.world.acme_scope():
            assert "sales@acme.test" in [address.email for address in addresses.all_addresses()]

    def test_how_long_things_are_kept_does(self, case: Case):
        """What is older is gone within the hour."""
        with later():
            asked = case.browser.post("/settings/data", {"days": "1"})
            assert asked.status_code == 422
            assert reply(case.browser, "/settings/data", asked).status_code == 303
        with case.world.acme_scope():
            assert accounts.current().keep_values_days == 1

    def test_a_member_is_refused_and_not_asked(self, case: Case):
        member = case.world.client(case.world.member)
        with later():
            assert member.post(case.url, DRAFT).status_code == 403


def test_it_agrees_with_what_the_pages_say():
    assert sessions.RECENT == 15 * 60
