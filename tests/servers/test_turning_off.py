"""Disable and Remove, and what happens to letters while a server fails."""

from __future__ import annotations

import pytest

from tests.servers.conftest import Mail, audit
from tests.support.mailserver import MailServer as RealServer


def test_disabling_keeps_the_settings_and_goes_back_to_the_platform(mail: Mail, real: RealServer) -> None:
    before = mail.saved(real.port)

    answer = mail.browser.post(f"{mail.url}/disable")

    assert answer.location == mail.url
    after = mail.server()
    assert (after.enabled, after.password_sealed) == (False, before.password_sealed)
    assert after.version > before.version
    assert mail.route().kind == "platform"
    assert "server.disabled" in audit(mail)


def test_saving_turns_a_disabled_server_on_again_without_a_test(mail: Mail, real: RealServer) -> None:
    mail.saved(real.port)
    mail.browser.post(f"{mail.url}/disable")

    mail.press("save", real.port, password="")

    assert mail.server().enabled
    assert real.connections == 0


def test_removing_deletes_the_stored_password(mail: Mail, real: RealServer) -> None:
    mail.saved(real.port)

    mail.browser.post(f"{mail.url}/remove")

    assert mail.server() is None
    assert mail.route().kind == "platform"
    assert "server.removed" in audit(mail)


def test_falling_back_is_a_choice(mail: Mail, real: RealServer) -> None:
    mail.saved(real.port)
    assert not mail.route().fallback

    mail.browser.post(f"{mail.url}/fallback", {"fallback": "1"})
    assert mail.route().fallback

    mail.browser.post(f"{mail.url}/fallback")
    assert not mail.route().fallback


@pytest.mark.parametrize("action", ["disable", "remove", "fallback"])
def test_it_is_for_owners(mail: Mail, real: RealServer, action: str) -> None:
    mail.saved(real.port)

    assert mail.world.client(mail.world.member).post(f"{mail.url}/{action}").status_code == 403
    assert mail.world.client(mail.world.stranger).post(f"{mail.url}/{action}").status_code == 404
    assert mail.server().enabled


@pytest.mark.parametrize("action", ["disable", "remove", "fallback"])
def test_there_must_be_a_server(mail: Mail, action: str) -> None:
    assert mail.browser.post(f"{mail.url}/{action}").status_code == 404
