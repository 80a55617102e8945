"""Manage Email, as owners and members see it."""

from __future__ import annotations

from panel.servers import service
from tests.servers.conftest import PASSWORD, Mail
from tests.support.mailserver import MailServer as RealServer


def test_an_owner_finds_the_form_of_the_contract(mail: Mail) -> None:
    page = mail.browser.get(mail.url).get_data(as_text=True)

    for name in ("preset", "host", "port", "security", "auth", "username", "password"):
        assert f'name="{name}"' in page
    for button in ("Test connection", "Save", "Save as draft"):
        assert f"{button}</button>" in page
    assert "Disable</button>" not in page


def test_an_owner_finds_the_way_out_of_a_server(mail: Mail, real: RealServer) -> None:
    mail.saved(real.port)

    page = mail.browser.get(mail.url).get_data(as_text=True)

    assert "Disable</button>" in page
    assert "Remove</button>" in page
    assert "verified" in page


def test_a_member_sees_the_settings_and_no_form(mail: Mail, real: RealServer) -> None:
    mail.saved(real.port)

    page = mail.world.client(mail.world.member).get(mail.url).get_data(as_text=True)

    assert "localhost" in page
    assert 'name="host"' not in page
    assert "Remove" not in page
    assert PASSWORD not in page


def test_it_says_why_a_server_rests(mail: Mail, real: RealServer) -> None:
    server = mail.saved(real.port)
    with mail.world.acme_scope():
        service.pause(server.id, server.version, reason="credentials", until=None, error="535 5.7.8 no such user")

    page = mail.browser.get(mail.url).get_data(as_text=True)

    assert "paused, because it refused the user name or password" in page
    assert "535 5.7.8 no such user" in page


def test_it_shows_how_mail_looks_without_an_own_server(mail: Mail) -> None:
    page = mail.browser.get(mail.url).get_data(as_text=True)

    assert "Acme Coffee via Ownpost" in page
    assert "answers go to hello@acme.test" in page
