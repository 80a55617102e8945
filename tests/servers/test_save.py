"""Save: tests first what was not tested, and turns on what passes."""

from __future__ import annotations

from panel.crypto import new_key
from panel.servers import service
from tests.servers.conftest import PASSWORD, Mail, audit
from tests.support.mailserver import MailServer as RealServer
from tests.support.redisserver import RedisServer


def test_it_tests_then_saves_and_turns_on(mail: Mail, real: RealServer) -> None:
    answer = mail.press("save", real.port)

    assert answer.status_code == 303
    page = mail.browser.get(answer.location).get_data(as_text=True)
    assert 'data-result="ok"' in page
    assert "Saved and on." in page
    server = mail.server()
    assert server is not None
    assert (server.enabled, server.state, server.host, server.port) == (True, "ready", "localhost", real.port)
    assert server.verified_at is not None
    assert mail.route().kind == "own"
    assert "server.saved" in audit(mail)


def test_it_confirms_the_address_too(mail: Mail, real: RealServer) -> None:
    assert not mail.confirmed()

    mail.press("save", real.port)

    assert mail.confirmed()


def test_it_saves_at_once_what_was_just_tested(mail: Mail, real: RealServer) -> None:
    mail.press("test", real.port)
    assert mail.server() is None
    connections = real.connections

    answer = mail.press("save", real.port)

    assert answer.location == mail.url
    assert mail.server().enabled
    assert real.connections == connections
    assert "goes out through your server" in mail.browser.get(mail.url).get_data(as_text=True)


def test_it_tests_again_when_anything_differs_from_what_was_tested(mail: Mail, real: RealServer) -> None:
    mail.press("test", real.port)

    answer = mail.press("save", real.port, auth="plain")

    assert "/tests/" in answer.location


def test_it_saves_nothing_that_fails_and_keeps_what_was_typed(mail: Mail, real: RealServer) -> None:
    answer = mail.press("save", real.port, password="wrong-canary")

    page = mail.browser.get(answer.location).get_data(as_text=True)
    assert 'data-result="failed"' in page
    assert 'data-code="auth_failed"' in page
    assert "Not saved" in page
    assert f'value="{real.port}"' in page
    assert "wrong-canary" not in page
    assert mail.server() is None
    assert mail.route().kind == "platform"


def test_it_keeps_the_old_settings_when_new_ones_fail(mail: Mail, real: RealServer) -> None:
    before = mail.saved(real.port)

    mail.press("save", real.port, password="wrong-canary")

    after = mail.server()
    assert (after.version, after.enabled, after.password_sealed) == (before.version, True, before.password_sealed)


def test_it_gives_every_change_a_new_version_and_resumes(mail: Mail, real: RealServer) -> None:
    before = mail.saved(real.port)
    with mail.world.acme_scope():
        assert service.pause(before.id, before.version, reason="credentials", until=None, error="535 no")
    assert mail.route().paused

    mail.press("save", real.port)

    after = mail.server()
    assert after.version > before.version
    assert (after.state, after.paused_reason, after.failures_in_a_row, after.last_error) == ("ready", None, 0, None)


def test_it_keeps_a_blank_password_while_server_and_user_stay(mail: Mail, real: RealServer) -> None:
    mail.saved(real.port)

    mail.press("save", real.port, auth="login", password="")

    assert mail.server().auth == "login"
    assert mail.server().enabled
    assert real.sign_ins == 1


def test_it_wants_the_password_again_when_server_or_user_changed(mail: Mail, real: RealServer) -> None:
    mail.saved(real.port)

    for changed, word in (
        ({"host": "127.0.0.1"}, "server"),
        ({"security": "tls"}, "security"),
        ({"username": "other@acme.test"}, "username"),
        ({"port": 587}, "port"),
    ):
        answer = mail.press("save", real.port, **{"password": "", **changed})
        assert answer.status_code == 422
        assert f"because the {word} changed" in answer.get_data(as_text=True)
    assert real.connections == 0
    assert mail.server().username == "hello@acme.test"


def test_it_wants_the_password_again_when_its_key_is_gone(mail: Mail, real: RealServer) -> None:
    mail.saved(real.port)
    mail.world.reconfigure(OWNPOST_ENCRYPTION_KEYS=new_key())
    mail.browser = mail.world.client(mail.world.owner)

    answer = mail.press("save", real.port, password="")

    assert answer.status_code == 422
    assert "can no longer be read" in answer.get_data(as_text=True)


def test_it_asks_a_member_to_ask_an_owner(mail: Mail, real: RealServer) -> None:
    answer = mail.press("save", real.port, browser=mail.world.client(mail.world.member))

    assert answer.status_code == 403
    assert mail.server() is None
    assert real.connections == 0


def test_it_is_not_there_for_a_stranger(mail: Mail, real: RealServer) -> None:
    stranger = mail.world.client(mail.world.stranger)

    assert stranger.get(mail.url).status_code == 404
    assert stranger.post(mail.url, {**mail.fields(real.port), "action": "save"}).status_code == 404
    mail.work()
    assert real.connections == 0


def test_it_refuses_a_form_without_its_token(mail: Mail, real: RealServer) -> None:
    answer = mail.browser.client.post(mail.url, data={**mail.fields(real.port), "action": "save"})

    assert answer.status_code == 400


def test_it_never_shows_the_stored_password(mail: Mail, real: RealServer) -> None:
    mail.saved(real.port)

    page = mail.browser.get(mail.url).get_data(as_text=True)

    assert PASSWORD not in page
    assert "stored" in page


def test_it_needs_no_redis_for_what_was_verified_and_says_so_for_the_rest(
    mail: Mail, real: RealServer, redis_server: RedisServer
) -> None:
    mail.saved(real.port)
    mail.browser.post(f"{mail.url}/disable")
    redis_server.stop()
    try:
        verified = mail.browser.post(mail.url, {**mail.fields(real.port), "password": "", "action": "save"})
        untested = mail.browser.post(mail.url, {**mail.fields(real.port), "auth": "plain", "action": "save"})
    finally:
        redis_server.start()

    assert verified.status_code == 303
    assert mail.server().enabled
    assert untested.status_code == 503
    assert "nothing was tested or saved" in untested.get_data(as_text=True)
    assert mail.server().auth == "auto"
