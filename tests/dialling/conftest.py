"""The real processes, with a name server, a Redis and mail servers of the test's own, and an owner who is signed in."""

from __future__ import annotations

import shutil
import socket
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from panel import db
from panel.accounts import service as accounts
from panel.addresses.models import OutboundAddress
from panel.campaigns import service as campaigns
from panel.crypto import new_key
from panel.embedded import find_redis_server
from tests.dialling.watched import Person, Program, Watched
from tests.support.mailserver import MailServer
from tests.support.nameserver import NameServer
from tests.support.needs import missing
from tests.support.redisserver import RedisServer
from tests.support.sandbox import Sandbox
from tests.support.world import PASSWORD, World

ELSEWHERE = "127.0.0.2"


class Decoy:
    """A listener that nobody may call: what comes waits in its queue until it is asked."""

    def __init__(self, host: str, port: int) -> None:
        self._listener = socket.create_server((host, port))
        self._listener.setblocking(False)

    @property
    def address(self) -> tuple[str, int]:
        host, port = self._listener.getsockname()
        return str(host), int(port)

    def was_called(self) -> bool:
        try:
            self._listener.accept()[0].close()
        except BlockingIOError:
            return False
        return True

    def close(self) -> None:
        self._listener.close()


@dataclass
class Scene:
    """All of it. `vetted` are the addresses that may be called besides the panel's own servers."""

    watched: Watched
    names: NameServer
    own: MailServer
    platform: MailServer
    sandbox: Sandbox
    decoys: list[Decoy]
    owner: Person
    api: Program
    address_id: uuid.UUID
    campaign_id: uuid.UUID
    notification_id: uuid.UUID
    redis: RedisServer
    vetted: set[tuple[str, int]] = field(default_factory=set)

    @property
    def server_page(self) -> str:
        return f"/settings/email/{self.address_id}/server"

    @property
    def notification_page(self) -> str:
        return f"/campaigns/{self.campaign_id}/notifications/{self.notification_id}"


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory, migrated_sqlite: Path) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("dialling")
    binary = find_redis_server()
    if binary is None:
        missing("redis-server", install="apt-get install redis-server")
    with ExitStack() as stack:
        redis = RedisServer(binary)
        redis.start()
        stack.callback(redis.remove)
        names = stack.enter_context(NameServer())
        own, platform = stack.enter_context(MailServer()), stack.enter_context(MailServer())
        sandbox = stack.enter_context(Sandbox(folder, "--play-all"))
        decoys = [Decoy(ELSEWHERE, own.port), Decoy("127.0.0.1", 0), Decoy(ELSEWHERE, 0)]
        for decoy in decoys:
            stack.callback(decoy.close)
        shutil.copy(migrated_sqlite, folder / "ownpost.sqlite3")
        vetted = {("127.0.0.1", port) for port in (own.port, *sandbox.ports.values())}
        environ = {
            "DATABASE_URL": f"sqlite:///{folder / 'ownpost.sqlite3'}",
            "REDIS_URL": redis.url,
            "OWNPOST_DATA_DIR": str(folder),
            "OWNPOST_SECRET_KEY": "a secret key for tests, and only for tests",
            "OWNPOST_ENCRYPTION_KEYS": new_key(),
            "OWNPOST_PUBLIC_URL": "http://127.0.0.1:8000",
            "OWNPOST_PLATFORM_SMTP_URL": f"smtp://127.0.0.1:{platform.port}?security=none",
            "OWNPOST_EHLO_NAME": "ownpost.test",
            "OWNPOST_TICKER_SECONDS": "0.5",
            "OWNPOST_LIMIT_TESTS": "10000/minute",
            "OWNPOST_DNS_SERVERS": f"127.0.0.1:{names.port}",
            "OWNPOST_SMTP_ALLOW": ",".join(f"{host}:{port}" for host, port in sorted(vetted)),
            "SSL_CERT_FILE": str(sandbox.ca_file),
        }
        address_id, campaign_id, notification_id, key, email = _filled(environ)
        watched = Watched(folder, environ)
        stack.callback(watched.stop)
        watched.wait_until_ready()
        owner = Person(watched.url)
        owner.sign_in(email, PASSWORD)
        api = Program(watched.url, key)
        ids = (address_id, campaign_id, notification_id)
        yield Scene(watched, names, own, platform, sandbox, decoys, owner, api, *ids, redis, vetted)


def _filled(environ: dict[str, str]) -> tuple[uuid.UUID, uuid.UUID, uuid.UUID, str, str]:
    """An account with an owner, an address, a campaign and a key."""
    world = World(environ)
    with world.acme_scope():
        with db.transaction() as session:
            address = OutboundAddress(
                email="hello@acme.test", display_name="Acme Coffee", confirmed_at=db.now(), is_default=True
            )
            session.add(address)
        campaign = campaigns.create(
            campaigns.Details(name="Spring", company_name="Acme Coffee", referral_url="https://acme.test/r")
        )
        by_kind = {one.kind: one.id for one in campaigns.notifications(campaign.id)}
        campaigns.switch(by_kind["new_referrer"], enabled=False)
        key = accounts.add_api_key("tests")
        found = (address.id, campaign.id, by_kind["welcome"], key, world.owner.email)
    world.close()
    return found
