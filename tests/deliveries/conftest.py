"""A campaign with people in it, and what it takes to see their letters arrive."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from sqlalchemy import update

from panel import db
from panel.addresses.models import OutboundAddress
from panel.campaigns import service as campaigns
from panel.deliveries import service as deliveries
from panel.deliveries.drain import Drain
from panel.outbox import service as outbox
from panel.outbox.models import Attempt, Delivery
from panel.participants import service as participants
from panel.servers import service as servers
from tests.support.mailserver import MailServer
from tests.support.world import World


@dataclass
class Post:
    """Acme's campaign, and its letters."""

    world: World
    platform: MailServer
    campaign_id: uuid.UUID
    address_id: uuid.UUID

    def join(self, email: str = "robin@friends.test", first_name: str = "Robin") -> list[int]:
        """A referrer joins: a welcome to them and a note to the owner are queued. Returns the deliveries' ids."""
        with self.world.acme_scope(), db.transaction():
            campaign = campaigns.get(self.campaign_id)
            person, _ = participants.ensure_referrer(campaign.id, email, first_name, "Meyer")
            made = deliveries.queue_for(
                campaign=campaign, event_id=_event(campaign.id), event_type="referrer.joined", referrer=person
            )
            return [one.id for one in made]

    def welcome(self, email: str = "robin@friends.test") -> int:
        """As `join`, with the owner's note switched off: one letter."""
        with self.world.acme_scope():
            owners = next(one for one in campaigns.notifications(self.campaign_id) if one.kind == "new_referrer")
            campaigns.switch(owners.id, enabled=False)
        return self.join(email)[0]

    def use(self, server: MailServer | int, *, username: str = "", password: str = "", security: str = "none") -> None:
        """Acme's own server, tested and on."""
        port = server if isinstance(server, int) else server.port
        allowed = f"127.0.0.1:{port}"
        self.world.reconfigure(OWNPOST_SMTP_ALLOW=allowed)
        entry = servers.Entry(
            preset="other", host="127.0.0.1", port=port, security=security, auth="auto",
            username=username, password=password,
        )  # fmt: skip
        with self.world.acme_scope():
            servers.note_passed(self.address_id, entry)
            servers.save(self.address_id, entry, servers.By())

    def send(self) -> None:
        """What a delivery worker does until nothing is due."""
        with self.world.app.app_context():
            deliveries.drain()

    def send_at_once(self, workers: int) -> None:
        """The same by several workers, until each finds nothing to do any more."""
        drains = [Drain(self.world.app, self.world.settings) for _ in range(workers)]

        def run(drain: Drain) -> None:
            with self.world.app.app_context():
                drain.run()

        threads = [threading.Thread(target=run, args=(drain,)) for drain in drains]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive()
        for drain in drains:
            drain.close()

    def due_now(self) -> None:
        """As if every wait were over."""
        with db.system_scope("tests"), db.transaction() as session:
            session.execute(update(Delivery).values(next_attempt_at=db.clock(-1)))

    def get(self, delivery_id: int) -> Delivery:
        with self.world.acme_scope():
            return outbox.get(delivery_id)

    def attempts(self, delivery_id: int) -> list[Attempt]:
        with self.world.acme_scope():
            return outbox.attempts(delivery_id)


def _event(campaign_id: uuid.UUID) -> uuid.UUID:
    from panel.events.models import Event

    event = Event(
        id=uuid.uuid4(), campaign_id=campaign_id, type="referrer.joined", natural_key=str(uuid.uuid4()),
        payload={}, occurred_at=db.now(),
    )  # fmt: skip
    event.account_id = db.account_id()
    db.session().add(event)
    db.session().flush()
    return event.id


@pytest.fixture
def platform() -> Iterator[MailServer]:
    """The platform's server."""
    with MailServer() as server:
        yield server


@pytest.fixture
def post(world: World, platform: MailServer) -> Post:
    """Acme with an outbound address and a campaign; its letters go by the platform's server."""
    world.reconfigure(OWNPOST_PLATFORM_SMTP_URL=f"smtp://127.0.0.1:{platform.port}?security=none")
    with world.acme_scope():
        with db.transaction() as session:
            address = OutboundAddress(
                email="hello@acme.test", display_name="Acme Coffee", confirmed_at=db.now(), is_default=True
            )
            session.add(address)
        campaign = campaigns.create(
            campaigns.Details(name="Spring", company_name="Acme Coffee", referral_url="https://acme.test/r")
        )
    return Post(world, platform, campaign.id, address.id)
