"""An outbound address, a real mail server on loopback, and the form's fields that fit it."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import select
from werkzeug.test import TestResponse

from panel import db, queue
from panel.accounts.models import AuditEntry
from panel.addresses import service as addresses
from panel.servers import service
from panel.servers.service import Entry, MailServer
from tests.support.mailserver import MailServer as RealServer
from tests.support.mailserver import ScriptedServer, ca_pem_path
from tests.support.world import Browser, World

USERNAME = "hello@acme.test"
PASSWORD = "canary-4f1c-password"


class Mail:
    """What tests about mail servers begin with: `address` is Acme's outbound address."""

    def __init__(self, world: World) -> None:
        self.world = world
        with world.acme_scope(), world.app.test_request_context():
            self.address = addresses.add(email="hello@acme.test", display_name="Acme Coffee")
        self.url = f"/settings/email/{self.address.id}/server"
        self.browser = world.client(world.owner)

    def allow(self, *ports: int) -> None:
        """Lets the app dial loopback on these ports."""
        self.world.reconfigure(OWNPOST_SMTP_ALLOW=",".join(f"127.0.0.1:{port}" for port in ports))
        self.browser = self.world.client(self.world.owner)

    def fields(self, port: int, **changed: Any) -> dict[str, Any]:
        """The form's fields for a server with STARTTLS on this port."""
        usual = {"preset": "other", "host": "localhost", "port": port, "security": "starttls", "auth": "auto"}
        return {**usual, "username": USERNAME, "password": PASSWORD, **changed}

    def entry(self, port: int, **changed: Any) -> Entry:
        """The same, as the service takes it."""
        return Entry(**self.fields(port, **changed))

    def press(self, action: str, port: int, /, *, browser: Browser | None = None, **changed: Any) -> TestResponse:
        """Fills in the form, presses a button and lets the workers do what came of it."""
        browser = browser or self.browser
        browser.get(self.url)
        answer = browser.post(self.url, {**self.fields(port), **changed, "action": action})
        self.work()
        return answer

    def work(self) -> None:
        """Does what waits for a worker. RQ's own worker takes a third of a second to stop, each time."""
        waiting = queue.queue(queue.INTERACTIVE)
        for job in waiting.get_jobs():
            waiting.remove(job)
            with self.world.app.app_context():
                job.func(*job.args)

    def server(self) -> MailServer | None:
        """What is stored."""
        with self.world.acme_scope():
            return service.for_address(self.address.id)

    def saved(self, port: int, **changed: Any) -> MailServer:
        """Stores settings as if they had passed a test, and turns them on."""
        with self.world.acme_scope():
            service.note_passed(self.address.id, self.entry(port, **changed))
            return service.save(self.address.id, self.entry(port, **changed), service.By())

    def drafted(self, port: int, **changed: Any) -> MailServer:
        """Stores settings that are not used."""
        with self.world.acme_scope():
            return service.save_draft(self.address.id, self.entry(port, **changed), service.By())

    def route(self, address_id: uuid.UUID | None = None) -> service.Route:
        """The route of Acme's address."""
        with self.world.acme_scope():
            return service.route_of(address_id or self.address.id)

    def confirmed(self) -> bool:
        with self.world.acme_scope():
            return addresses.get(self.address.id).confirmed_at is not None


@pytest.fixture
def mail(world: World, monkeypatch: pytest.MonkeyPatch) -> Mail:
    """Acme with an outbound address; the workers trust the test servers' certificate."""
    monkeypatch.setenv("SSL_CERT_FILE", ca_pem_path())
    return Mail(world)


@pytest.fixture
def real(mail: Mail) -> Iterator[RealServer]:
    """A server that wants STARTTLS, the user name and the password, and that the app may dial."""
    with RealServer(security="starttls", username=USERNAME, password=PASSWORD) as server:
        mail.allow(server.port)
        yield server


@pytest.fixture
def own(mail: Mail) -> Any:
    """Acme's own server, of which nobody knows any limits, and that nobody dials."""
    from tests.servers.pacing import PORT, Pace

    mail.allow(PORT)
    mail.saved(PORT)
    return Pace(mail)


@pytest.fixture
def scripted(mail: Mail) -> Callable[..., Any]:
    """Starts a server that plays scripts, and that the app may dial."""

    @contextmanager
    def start(*scripts: Any) -> Iterator[ScriptedServer]:
        with ScriptedServer(*scripts) as server:
            mail.allow(server.port)
            yield server

    return start


def audit(mail: Mail) -> list[str]:
    """What the audit log says was done to addresses and servers."""
    with mail.world.acme_scope():
        done = db.session().scalars(select(AuditEntry.action).order_by(AuditEntry.at))
        return [action for action in done if not action.startswith(("account.", "user.", "sign_in"))]


def steps(page: str) -> dict[str, tuple[str, str | None]]:
    """Each step of a page or stream message with its state and code, in the order shown."""
    found = re.findall(r'data-step="([a-z]+)" data-state="([a-z]+)"(?: data-code="([a-z_]+)")?', page)
    return {step: (state, code or None) for step, state, code in found}


def result(page: str) -> str | None:
    """How a test ended, as the page says it."""
    found = re.search(r'data-result="([a-z]+)"', page)
    return found[1] if found else None
