"""Limits on tests of one mail server, over all accounts; and on passwords that it has refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import redis

from panel import db
from panel.addresses import service as addresses
from panel.servers import service, tries
from panel.smtp.outcome import About, FailureCode, Outcome, Phase, Verdict
from tests.servers.conftest import PASSWORD, USERNAME, Mail, result
from tests.support.mailserver import MailServer as RealServer
from tests.support.mailserver import Peer

WRONG = "canary-wrong-password"
NO_ENTRY = Outcome(
    verdict=Verdict.PERMANENT, about=About.CREDENTIALS, phase=Phase.AUTH, failure=FailureCode.AUTH_FAILED, code=535
)


def test_it_counts_tests_of_one_server_and_user_name_over_all_accounts(mail: Mail, real: RealServer) -> None:
    limit(mail, "2/hour")
    assert mail.press("test", real.port).status_code == 303
    assert mail.press("test", real.port).status_code == 303
    stranger = mail.world.client(mail.world.stranger)
    with db.account_scope(mail.world.other.id), mail.world.app.test_request_context():
        theirs = addresses.add(email="hello@other.test", display_name="Other")
    url = f"/settings/email/{theirs.id}/server"
    stranger.get(url)
    answer = stranger.post(url, {**mail.fields(real.port), "action": "test"})
    assert answer.status_code == 429
    assert 3000 < int(answer.headers["Retry-After"]) <= 3600
    assert re.search(r"test again in \d+ minutes", answer.get_data(as_text=True))
    other_name = stranger.post(url, {**mail.fields(real.port), "username": "someone", "action": "test"})
    assert other_name.status_code == 303


def test_saves_own_test_counts_too(mail: Mail, real: RealServer) -> None:
    limit(mail, "1/hour")
    assert mail.press("test", real.port, password=WRONG).status_code == 303
    answer = mail.press("save", real.port)
    assert answer.status_code == 429
    assert mail.server() is None


def test_htmx_gets_words_and_when_to_come_back(mail: Mail, real: RealServer) -> None:
    limit(mail, "1/hour")
    mail.press("test", real.port)
    mail.browser.get(mail.url)
    answer = mail.browser.post(mail.url, {**mail.fields(real.port), "action": "test"}, headers={"HX-Request": "true"})
    assert (answer.status_code, answer.mimetype) == (429, "text/plain")
    assert "Retry-After" in answer.headers
    assert "test again in" in answer.get_data(as_text=True)


def test_a_refused_password_is_tried_five_times_an_hour(mail: Mail, real: RealServer) -> None:
    for _ in range(5):
        answer = mail.press("test", real.port, password=WRONG)
        assert result(mail.browser.get(answer.location).get_data(as_text=True)) == "failed"
    signs = real.sign_ins
    assert signs == 5
    refused = mail.press("test", real.port, password=WRONG)
    assert refused.status_code == 429
    assert int(refused.headers["Retry-After"]) > 0
    assert mail.press("save", real.port, password=WRONG).status_code == 429
    assert real.sign_ins == signs
    # Another password is another matter.
    again = mail.press("test", real.port)
    assert result(mail.browser.get(again.location).get_data(as_text=True)) == "ok"


@pytest.mark.parametrize("reply", ["454 4.7.0 Temporary authentication failure", ""], ids=["later", "hung up"])
def test_one_that_is_not_answered_is_tried_as_often(mail: Mail, scripted: Callable[..., Any], reply: str) -> None:
    def play(peer: Peer) -> None:
        peer.greet("AUTH PLAIN")
        peer.hear("AUTH")
        if reply:
            peer.say(reply)
            peer.hear("QUIT")

    with scripted(play) as server:
        answers = [mail.press("test", server.port, security="none").status_code for _ in range(6)]
        server.finish()
        heard = [line for line in server.heard if line.startswith(b"AUTH")]
    assert answers == [303] * 5 + [429]
    assert len(heard) == 5


def test_tests_that_were_begun_at_once_try_a_refused_password_no_more_often(mail: Mail, real: RealServer) -> None:
    answers = []
    for _ in range(7):
        mail.browser.get(mail.url)
        answers.append(mail.browser.post(mail.url, {**mail.fields(real.port), "password": WRONG, "action": "test"}))
    assert [answer.status_code for answer in answers] == [303] * 7
    mail.work()
    assert real.sign_ins == 5
    last = mail.browser.get(answers[-1].location).get_data(as_text=True)
    assert result(last) == "failed"
    assert "not taken this password again and again" in last


def test_the_host_is_the_same_however_it_is_written(mail: Mail) -> None:
    limit(mail, "1/hour")
    with mail.world.app.app_context():
        assert tries.count_test(mail.entry(587, host="smtp.acme.example")) is None
        assert tries.count_test(mail.entry(587, host="SMTP.ACME.example.")) is not None
        assert tries.count_test(mail.entry(465, host="smtp.acme.example")) is None


def test_redis_holds_neither_names_nor_passwords(mail: Mail, real: RealServer, redis_client: redis.Redis) -> None:
    mail.press("test", real.port, password=WRONG)
    keys = [key.decode() for key in redis_client.keys("*limit*")]
    assert any("refused" in key for key in keys)
    assert any("destination" in key for key in keys)
    for secret in (USERNAME, WRONG, PASSWORD, "localhost"):
        assert not [key for key in keys if secret in key]


def test_what_campaign_mail_was_refused_counts_as_well(mail: Mail, real: RealServer) -> None:
    mail.saved(real.port)
    route = mail.route()
    with mail.world.acme_scope():
        for _ in range(5):
            service.sign_in_ended(route, NO_ENTRY)
        assert tries.count_test(mail.entry(real.port)) is not None
        assert service.count_test_send(mail.address.id) is not None
        assert tries.count_test(mail.entry(real.port, password="another")) is None


def limit(mail: Mail, rates: str) -> None:
    mail.world.reconfigure(OWNPOST_LIMIT_DESTINATIONS=rates)
    mail.browser = mail.world.client(mail.world.owner)
