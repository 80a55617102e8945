"""A CA certificate of the owner's own: pasted with the settings, tested with them, and used for every letter."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator

import pytest
import trustme

from panel.campaigns import service as campaigns
from panel.servers import service as servers
from tests.deliveries.conftest import Post, platform, post
from tests.servers.conftest import PASSWORD, USERNAME, Mail, result, steps
from tests.support import mailserver
from tests.support.mailserver import MailServer as RealServer

__all__ = ["platform", "post"]


@pytest.fixture
def company(monkeypatch: pytest.MonkeyPatch) -> str:
    """The CA certificate that every server of this test is signed by, and that the system does not trust."""
    trusted = mailserver.ca_pem_path()
    own = trustme.CA(organization_name="Acme company CA")
    monkeypatch.setattr(mailserver, "authority", lambda: own)
    monkeypatch.setenv("SSL_CERT_FILE", trusted)
    return own.cert_pem.bytes().decode()


@pytest.fixture
def real(mail: Mail, company: str) -> Iterator[RealServer]:
    with RealServer(security="starttls", username=USERNAME, password=PASSWORD) as server:
        mail.allow(server.port)
        yield server


def test_a_server_of_an_own_authority_fails_without_its_certificate(mail: Mail, real: RealServer) -> None:
    answer = mail.press("test", real.port)
    page = mail.browser.get(answer.location).get_data(as_text=True)
    assert steps(page)["tls"] == ("failed", "certificate_untrusted")
    assert "Own CA certificate" in page


def test_a_server_of_an_own_authority_is_saved_with_its_certificate(mail: Mail, real: RealServer, company: str) -> None:
    answer = mail.press("save", real.port, ca_certificate=company.replace("\n", "\r\n"))
    page = mail.browser.get(answer.location).get_data(as_text=True)
    assert result(page) == "ok"
    assert real.sign_ins == 1
    server = mail.server()
    assert server.enabled
    assert server.ca_certificate == company
    page = mail.browser.get(mail.url).get_data(as_text=True)
    assert "BEGIN CERTIFICATE" in page
    assert re.search(r"Acme company CA|Testing CA", page)
    assert "valid until 1 Jan 3000" in page


def test_a_member_sees_who_is_trusted(mail: Mail, real: RealServer, company: str) -> None:
    mail.saved(real.port, ca_certificate=company)
    page = mail.world.client(mail.world.member).get(mail.url).get_data(as_text=True)
    assert "Trusted CA" in page
    assert "valid until 1 Jan 3000" in page


def test_the_certificate_belongs_to_what_was_tested(mail: Mail, real: RealServer, company: str) -> None:
    mail.press("test", real.port, ca_certificate=company)
    other = trustme.CA().cert_pem.bytes().decode()
    with mail.world.acme_scope():
        assert servers.is_tested(mail.address.id, mail.entry(real.port, ca_certificate=company))
        assert not servers.is_tested(mail.address.id, mail.entry(real.port, ca_certificate=other))
        assert not servers.is_tested(mail.address.id, mail.entry(real.port))


def test_what_was_verified_before_there_were_any_still_is(mail: Mail, real: RealServer) -> None:
    mail.saved(real.port)
    with mail.world.acme_scope():
        assert servers.is_tested(mail.address.id, mail.entry(real.port, ca_certificate=""))


def test_it_wants_the_password_again_when_another_is_trusted(mail: Mail, real: RealServer, company: str) -> None:
    mail.saved(real.port, ca_certificate=company)
    for other in (trustme.CA().cert_pem.bytes().decode(), "", " \r\n"):
        answer = mail.press("save", real.port, password="", ca_certificate=other)
        assert answer.status_code == 422
        assert "because the CA certificate changed" in answer.get_data(as_text=True)
    assert mail.press("save", real.port, password="", ca_certificate=company).status_code == 303
    assert real.connections == 0


def test_it_can_be_taken_away_again(mail: Mail, real: RealServer, company: str) -> None:
    mail.saved(real.port, ca_certificate=company)
    mail.press("draft", real.port, ca_certificate="")
    assert mail.server().ca_certificate is None
    answer = mail.press("test", real.port, ca_certificate="")
    assert result(mail.browser.get(answer.location).get_data(as_text=True)) == "failed"


@pytest.mark.parametrize(
    "text", ["hello", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----", "x" * 70_000]
)
def test_it_names_what_is_wrong_with_it(mail: Mail, real: RealServer, text: str) -> None:
    answer = mail.press("save", real.port, ca_certificate=text)
    page = answer.get_data(as_text=True)
    assert answer.status_code == 422
    assert 'id="ca_certificate-error"' in page
    assert real.connections == 0


def test_it_neither_keeps_nor_repeats_a_private_key(mail: Mail, real: RealServer, company: str) -> None:
    secret = trustme.CA().private_key_pem.bytes().decode()
    answer = mail.press("draft", real.port, ca_certificate=company + secret)
    page = answer.get_data(as_text=True)
    assert answer.status_code == 422
    assert "must stay with its server" in page
    assert secret.splitlines()[1] not in page
    assert mail.server() is None


@pytest.fixture
def own(post: Post, company: str) -> Iterator[RealServer]:
    """Acme's own server, of the company's authority, in use."""
    with RealServer(security="starttls", username=USERNAME, password=PASSWORD) as server:
        post.world.reconfigure(OWNPOST_SMTP_ALLOW=f"127.0.0.1:{server.port}")
        _use(post, server, company)
        yield server


def _use(post: Post, server: RealServer, trusted: str) -> None:
    entry = servers.Entry(
        preset="other", host="localhost", port=server.port, security="starttls", auth="auto",
        username=USERNAME, password=PASSWORD, ca_certificate=trusted,
    )  # fmt: skip
    with post.world.acme_scope():
        servers.note_passed(post.address_id, entry)
        servers.save(post.address_id, entry, servers.By())


def test_campaign_mail_goes_by_the_authority_that_was_given(post: Post, own: RealServer) -> None:
    welcome = post.welcome()
    post.send()
    assert post.get(welcome).state == "sent"
    assert own.messages[0].recipients == ("robin@friends.test",)


def test_campaign_mail_does_not_go_by_another(post: Post, own: RealServer) -> None:
    _use(post, own, trustme.CA().cert_pem.bytes().decode())
    welcome = post.welcome()
    post.send()
    assert post.get(welcome).state in ("held", "deferred")
    assert [one.failure for one in post.attempts(welcome)] == ["certificate_untrusted"]
    assert own.messages == []
    assert own.sign_ins == 0


def test_test_sends_go_by_it_too(post: Post, own: RealServer) -> None:
    browser = post.world.client(post.world.owner)
    page = f"/campaigns/{post.campaign_id}/notifications/{_welcome(post)}"
    browser.get(page)
    assert browser.post(f"{page}/test-send", {"to": "owner@acme.test"}).status_code == 303
    post.world.work("interactive")
    [letter] = own.wait_for(1)
    assert letter.recipients == ("owner@acme.test",)


def _welcome(post: Post) -> uuid.UUID:
    with post.world.acme_scope():
        return next(one.id for one in campaigns.notifications(post.campaign_id) if one.kind == "welcome")
