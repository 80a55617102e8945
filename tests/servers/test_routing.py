"""Which server sends for which address, and how its letters are addressed."""

from __future__ import annotations

import uuid

import pytest

from panel import db
from panel.addresses import service as addresses
from panel.config import Mailbox
from panel.crypto import new_key
from panel.servers import service
from panel.servers.routing import cleartext_allowed
from panel.smtp.destination import DestinationPolicy
from tests.servers.conftest import PASSWORD, Mail
from tests.support.mailserver import MailServer as RealServer

PLATFORM = Mailbox(name="Ownpost", address="notifications@platform.test")


def test_an_address_without_a_server_goes_by_the_platform_in_its_name(mail: Mail) -> None:
    route = mail.route()

    envelope = service.envelope_of(route, platform_from=PLATFORM)
    assert (route.kind, route.label, route.confirmed) == ("platform", "platform server", False)
    assert envelope.from_name == "Acme Coffee via Ownpost"
    assert (envelope.from_address, envelope.reply_to) == ("notifications@platform.test", "hello@acme.test")


def test_an_address_with_its_own_server_goes_by_that(mail: Mail, real: RealServer) -> None:
    server = mail.saved(real.port)

    route = mail.route()
    envelope = service.envelope_of(route, platform_from=PLATFORM)

    assert (route.kind, route.server_id, route.server_version) == ("own", server.id, server.version)
    assert route.label == f"localhost:{real.port}"
    assert (envelope.from_name, envelope.from_address, envelope.reply_to) == ("Acme Coffee", "hello@acme.test", None)


def test_no_address_named_means_the_default_one(mail: Mail, real: RealServer) -> None:
    mail.saved(real.port)

    with mail.world.acme_scope():
        assert service.route_of(None).address_id == mail.address.id
        assert service.route_of(uuid.uuid4()).address_id == mail.address.id


def test_all_routes_at_once_are_those_that_are_found_one_by_one(mail: Mail, real: RealServer) -> None:
    mail.saved(real.port)
    with mail.world.acme_scope(), mail.world.app.test_request_context():
        other = addresses.add(email="other@acme.test", display_name="")
        found = service.routes()
        assert found == {one: service.route_of(one) for one in (None, mail.address.id, other.id)}
        assert {found[None].kind, found[other.id].kind} == {"own", "platform"}
    with mail.world.app.app_context(), db.account_scope(mail.world.other.id):
        assert service.routes() == {None: service.route_of(None)}


def test_an_account_without_addresses_goes_by_the_platform(mail: Mail) -> None:
    with mail.world.app.app_context(), db.account_scope(mail.world.other.id):
        route = service.route_of(None)

    envelope = service.envelope_of(route, platform_from=PLATFORM)
    assert (route.kind, route.from_address) == ("platform", None)
    assert (envelope.from_name, envelope.reply_to) == ("Other via Ownpost", None)


def test_system_letters_come_from_the_platform_itself(mail: Mail) -> None:
    envelope = service.envelope_of(service.platform_route(), platform_from=PLATFORM)

    assert (envelope.from_name, envelope.from_address, envelope.reply_to) == ("Ownpost", PLATFORM.address, None)


def test_it_unseals_the_password_for_the_session_only(mail: Mail, real: RealServer) -> None:
    server = mail.saved(real.port)
    assert PASSWORD not in (server.password_sealed or "")

    with mail.world.acme_scope():
        settings, policy = service.smtp_settings(service.route_of(mail.address.id))

    assert (settings.host, settings.port, settings.password) == ("localhost", real.port, PASSWORD)
    assert policy == mail.world.settings.smtp_policy
    assert PASSWORD not in repr(settings)


def test_it_says_when_the_password_cannot_be_read(mail: Mail, real: RealServer) -> None:
    mail.saved(real.port)
    mail.world.reconfigure(OWNPOST_ENCRYPTION_KEYS=new_key())

    with mail.world.acme_scope(), pytest.raises(service.PasswordUnreadable):
        service.smtp_settings(service.route_of(mail.address.id))


def test_a_password_sealed_for_another_row_does_not_open(mail: Mail, real: RealServer) -> None:
    server = mail.saved(real.port)
    with mail.world.acme_scope(), mail.world.app.test_request_context():
        other = addresses.add(email="other@acme.test", display_name="")
        copy = service.save_draft(other.id, mail.entry(real.port), service.By())
        with db.transaction():
            copy.password_sealed = server.password_sealed
        with pytest.raises(service.PasswordNeeded, match="no longer be read"):
            service.with_stored_password(other.id, mail.entry(real.port, password=""))


@pytest.mark.parametrize(
    ("host", "port", "allowed"),
    [
        ("10.1.2.3", 25, True),
        ("10.1.2.3", 587, False),
        ("10.1.2.4", 25, False),
        ("localhost", 2525, True),
        ("smtp.example.com", 587, False),
        ("smtp.example.com", 25, False),
    ],
)
def test_passwords_go_unencrypted_only_where_the_operator_said(host: str, port: int, allowed: bool) -> None:
    policy = DestinationPolicy.parse(ports="25,587", allow="10.1.2.3:25,127.0.0.1:2525")

    assert cleartext_allowed(host, port, policy) is allowed


def test_a_stale_failure_pauses_nothing(mail: Mail, real: RealServer) -> None:
    server = mail.saved(real.port)

    with mail.world.acme_scope():
        assert not service.pause(server.id, server.version - 1, reason="server", until=None, error="late")

    assert not mail.route().paused
