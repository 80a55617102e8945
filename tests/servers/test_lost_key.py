"""An encryption key that is lost: letters wait, the owner is told in plain words, and enters the password again."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import select

from panel.crypto import new_key
from panel.outbox.models import Delivery
from panel.servers.models import MailServer as Row
from tests.deliveries.conftest import Post, platform, post
from tests.support.mailserver import MailServer, ca_pem_path
from tests.support.world import KEYS

__all__ = ["platform", "post"]

USER, PASSWORD = "hello@acme.test", "canary-91aa-password"


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch, post: Post) -> Iterator[MailServer]:
    """Acme's own server, whose password is stored."""
    monkeypatch.setenv("SSL_CERT_FILE", ca_pem_path())
    with MailServer(security="starttls", username=USER, password=PASSWORD) as server:
        post.use(server, username=USER, password=PASSWORD, security="starttls")
        yield server


def states(post: Post) -> list[tuple[str, str | None]]:
    with post.world.acme_scope() as session:
        found = session.scalars(select(Delivery).where(Delivery.kind != "system", Delivery.state != "canceled"))
        return [(one.state, one.reason) for one in found]


def mails(post: Post) -> list[str]:
    with post.world.acme_scope() as session:
        found = session.scalars(select(Delivery).where(Delivery.kind == "system"))
        return [one.values["text"] for one in found]


def test_letters_wait_and_the_owner_is_asked_for_the_password(post: Post, own: MailServer):
    post.welcome()
    post.world.reconfigure(OWNPOST_ENCRYPTION_KEYS=new_key())
    post.send()
    post.world.tick()
    assert states(post) == [("held", "password_unreadable")]
    assert own.messages == []
    [letter] = mails(post)
    assert "its stored password can no longer be read; please enter it again" in letter
    browser = post.world.client(post.world.owner)
    home = browser.get("/").get_data(as_text=True)
    assert "Its stored password can no longer be read. Enter it again: what waits then goes out at once." in home
    url = f"/settings/email/{post.address_id}/server"
    assert url in home
    fields = {
        "preset": "other", "host": "127.0.0.1", "port": str(own.port), "security": "starttls", "auth": "auto",
        "username": USER, "password": "", "action": "save",
    }  # fmt: skip
    browser.get(url)
    asked = browser.post(url, fields)
    assert asked.status_code == 422
    assert "The stored password can no longer be read. Enter it again." in asked.get_data(as_text=True)
    browser.post(url, {**fields, "host": "localhost", "password": PASSWORD})
    post.world.work("interactive")
    post.world.work("housekeeping")
    post.send()
    assert states(post) == [("sent", None)]
    assert len(own.wait_for(1)) == 1
    assert "can no longer be read" not in browser.get("/").get_data(as_text=True)


def test_they_go_out_by_themselves_when_the_key_is_back(post: Post, own: MailServer):
    post.welcome()
    post.world.reconfigure(OWNPOST_ENCRYPTION_KEYS=new_key())
    post.send()
    assert states(post) == [("held", "password_unreadable")]
    post.world.reconfigure(OWNPOST_ENCRYPTION_KEYS=f"{new_key()},{KEYS}")
    post.world.tick()
    post.send()
    assert states(post) == [("sent", None)]
    with post.world.acme_scope() as session:
        assert session.scalars(select(Row.state)).one() == "ready"
