"""Fields are checked as they are left: errors, and likely slips that block nothing."""

from __future__ import annotations

from typing import Any

import pytest

from tests.servers.conftest import PASSWORD, Mail


def check(mail: Mail, name: str, **changed: Any) -> str:
    mail.browser.get(mail.url)
    fields = {**mail.fields(587), "host": "smtp.acme.test", **changed}
    answer = mail.browser.post(f"{mail.url}/check/{name}", fields, headers={"HX-Request": "true"})
    assert answer.status_code == 200
    page: str = answer.get_data(as_text=True)
    assert page.count("<html") == 0
    return page


@pytest.mark.parametrize(
    ("name", "changed", "words"),
    [
        ("security", {"port": 465}, "Port 465 nearly always goes with TLS"),
        ("security", {"security": "tls"}, "Port 587 nearly always goes with STARTTLS"),
        ("host", {"host": "imap.acme.test"}, "for reading mail"),
        ("password", {"password": " blank"}, "There is a blank"),
        ("username", {"preset": "gmail", "host": "smtp.gmail.com", "username": "x@gmail.com"}, "hello@acme.test"),
    ],
)
def test_it_names_a_likely_slip(mail: Mail, name: str, changed: dict[str, Any], words: str) -> None:
    page = check(mail, name, **changed)

    assert words in page
    assert "data-slip" in page
    assert "aria-invalid" not in page


def test_it_says_what_is_wrong_with_the_field_alone(mail: Mail) -> None:
    page = check(mail, "host", host="someone@acme.test", port="no number")

    assert "That is an email address" in page
    assert "as a number" not in page


def test_it_takes_a_slip_back_when_the_other_field_is_mended(mail: Mail) -> None:
    page = check(mail, "port", port=465, security="tls")

    assert 'hx-target="#field-security"' in page
    assert "data-slip" not in page


def test_it_asks_for_the_password_again_once_the_server_changed(mail: Mail) -> None:
    mail.drafted(587, host="smtp.acme.test")

    assert "because the server changed" in check(mail, "host", host="smtp.other.test", password="")
    assert "because the server changed" not in check(mail, "host", password="")


def test_it_never_repeats_the_password(mail: Mail) -> None:
    assert PASSWORD not in check(mail, "password")


def test_it_knows_its_fields(mail: Mail) -> None:
    assert mail.browser.post(f"{mail.url}/check/csrf_token").status_code == 404


def test_it_is_for_owners(mail: Mail) -> None:
    assert mail.world.client(mail.world.member).post(f"{mail.url}/check/host").status_code == 403
    assert mail.world.client(mail.world.stranger).post(f"{mail.url}/check/host").status_code == 404
