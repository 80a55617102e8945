"""Save as draft: kept, and not used."""

from __future__ import annotations

from tests.servers.conftest import PASSWORD, Mail
from tests.support.mailserver import MailServer as RealServer


def test_it_keeps_what_was_typed_without_using_it(mail: Mail) -> None:
    answer = mail.press("draft", 587, host="smtp.acme.test")

    assert answer.location == mail.url
    server = mail.server()
    assert (server.host, server.enabled, server.verified_at) == ("smtp.acme.test", False, None)
    assert mail.route().kind == "platform"
    page = mail.browser.get(mail.url).get_data(as_text=True)
    assert "has not passed a test" in page
    assert "smtp.acme.test" in page
    assert PASSWORD not in page


def test_it_turns_a_server_that_is_on_off(mail: Mail, real: RealServer) -> None:
    before = mail.saved(real.port)

    mail.press("draft", real.port, auth="plain")

    after = mail.server()
    assert (after.enabled, after.auth) == (False, "plain")
    assert after.fingerprint_verified is None
    assert after.version > before.version


def test_it_remembers_that_the_same_settings_were_verified(mail: Mail, real: RealServer) -> None:
    mail.saved(real.port)

    mail.press("draft", real.port, password="")

    assert not mail.server().enabled
    assert mail.server().verified_at is not None


def test_it_is_for_owners(mail: Mail) -> None:
    assert mail.press("draft", 587, browser=mail.world.client(mail.world.member)).status_code == 403
    stranger = mail.world.client(mail.world.stranger)
    assert stranger.post(mail.url, {**mail.fields(587), "action": "draft"}).status_code == 404
    assert mail.server() is None
