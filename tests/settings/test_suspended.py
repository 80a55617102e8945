"""An account whose sending an operator has stopped: nobody is mailed or dialled for it."""

from __future__ import annotations

from typing import Any

import pytest

from panel import db
from panel.accounts import service as accounts
from panel.settings import service
from tests.servers.conftest import Mail, mail, real
from tests.settings.conftest import letters
from tests.support.mailserver import MailServer as RealServer

__all__ = ["mail", "real"]


@pytest.fixture
def stopped(mail: Mail, real: RealServer) -> Mail:
    """Acme, suspended, with an outbound address and somebody invited."""
    with mail.world.acme_scope(), mail.world.app.test_request_context():
        service.invite("new@acme.test", "member", service.By())
    with db.system_scope("tests"):
        accounts.suspend(mail.world.acme, suspended=True)
    mail.browser.get("/settings/users")
    return mail


def test_it_invites_nobody(stopped: Mail) -> None:
    before = len(letters(stopped.world))
    with stopped.world.acme_scope():
        [row] = service.invitations()
    refused(stopped.browser.post("/settings/users", {"email": "other@acme.test", "role": "member"}))
    refused(stopped.browser.post(f"/settings/users/invitations/{row.id}/resend"))
    assert len(letters(stopped.world)) == before


def test_it_mails_no_links_to_outbound_addresses(stopped: Mail) -> None:
    before = len(letters(stopped.world))
    refused(stopped.browser.post("/settings/email", {"email": "other@acme.test", "display_name": ""}))
    refused(stopped.browser.post(f"/settings/email/{stopped.address.id}/link"))
    assert len(letters(stopped.world)) == before


@pytest.mark.parametrize("action", ["test", "save"])
def test_it_dials_no_mail_server(stopped: Mail, real: RealServer, action: str) -> None:
    refused(stopped.press(action, real.port))
    assert real.connections == 0


def test_its_people_still_get_a_new_password(stopped: Mail) -> None:
    before = len(letters(stopped.world))
    stopped.world.client().submit("/forgot", email="owner@acme.test")
    assert len(letters(stopped.world)) == before + 1


def refused(answer: Any) -> None:
    assert answer.status_code == 403
    assert "Sending is stopped for this account" in answer.get_data(as_text=True)
