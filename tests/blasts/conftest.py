"""A campaign with many people in it, and a blast to them."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from sqlalchemy import insert, select, update

from panel import db
from panel.addresses.models import OutboundAddress
from panel.blasts import progress
from panel.blasts import service as blasts
from panel.blasts.audience import Audience
from panel.blasts.models import Blast
from panel.campaigns import service as campaigns
from panel.deliveries import service as deliveries
from panel.message.drafting import Words
from panel.outbox.models import Delivery
from panel.participants.models import Participant
from tests.support.mailserver import MailServer
from tests.support.world import World

WORDS = Words(
    subject='News for {{ recipient.first_name | default: "you" }}',
    preheader="From {{ company.name }}",
    html='<p>Hello {{ recipient.first_name | default: "there" }}, share {{ referrer.referral_link }}</p>',
    text="",
)
EVERYBODY = Words(subject="Hello", preheader="", html="<p>Hello {{ recipient.first_name }}</p>", text="")


@dataclass
class Crowd:
    """Acme's campaign, its people, and its letters."""

    world: World
    platform: MailServer
    campaign_id: uuid.UUID

    def add(self, count: int, *, kind: str = "referrer", **also: object) -> list[uuid.UUID]:
        """So many people at once."""
        now = db.now()
        rows = []
        for _ in range(count):
            key = uuid.uuid4()
            row: dict[str, object] = {
                "id": key, "account_id": self.world.acme.id, "campaign_id": self.campaign_id,
                "email": f"{kind}-{key.hex[:12]}@friends.test", "first_name": "Robin", "last_name": "Meyer",
                "referral_code": key.hex[:12].upper(), "joined_at": now if kind == "referrer" else None,
                "referral_count": 0, "qualified_count": 0, "made_at": now,
            }  # fmt: skip
            rows.append(row | also)
        with self.world.acme_scope(), db.transaction() as session:
            session.execute(insert(Participant), rows)
        return [row["id"] for row in rows]  # type: ignore[misc]

    def draft(self, words: Words = WORDS, **audience: object) -> uuid.UUID:
        """A draft to some of them."""
        with self.world.acme_scope():
            blast = blasts.create(self.campaign_id, made_by=self.world.owner.id)
            blasts.save(blast.id, words, Audience(**{"who": "referrers", **audience}))  # type: ignore[arg-type]
            return blast.id

    def send(self, blast_id: uuid.UUID) -> bool:
        with self.world.acme_scope():
            return blasts.send(blast_id)

    def blast(self, blast_id: uuid.UUID) -> Blast:
        with self.world.acme_scope():
            return blasts.get(blast_id)

    def letters(self, blast_id: uuid.UUID) -> list[Delivery]:
        with self.world.acme_scope() as session:
            return list(session.scalars(select(Delivery).where(Delivery.blast_id == blast_id).order_by(Delivery.id)))

    def states(self, blast_id: uuid.UUID) -> dict[str, int]:
        counted: dict[str, int] = {}
        for one in self.letters(blast_id):
            counted[one.state] = counted.get(one.state, 0) + 1
        return counted

    def drain(self) -> None:
        """What a delivery worker does until nothing is due."""
        with self.world.app.app_context():
            deliveries.drain()

    def progress(self, blast_id: uuid.UUID) -> progress.Progress:
        with self.world.acme_scope():
            return progress.look(blasts.get(blast_id))

    def path(self, blast_id: uuid.UUID) -> str:
        return f"/campaigns/{self.campaign_id}/blasts/{blast_id}"


@pytest.fixture
def platform() -> Iterator[MailServer]:
    """The platform's server."""
    with MailServer() as server:
        yield server


@pytest.fixture
def crowd(world: World, platform: MailServer) -> Crowd:
    """Acme with an outbound address and a campaign; its letters go by the platform's server, without a daily limit."""
    world.reconfigure(OWNPOST_PLATFORM_SMTP_URL=f"smtp://127.0.0.1:{platform.port}?security=none")
    with world.acme_scope():
        with db.transaction() as session:
            address = OutboundAddress(
                email="hello@acme.test", display_name="Acme Coffee", confirmed_at=db.now(), is_default=True
            )
            session.add(address)
        details = campaigns.Details(name="Spring", company_name="Acme Coffee", referral_url="https://acme.test/r/")
        campaign = campaigns.create(details)
    with db.system_scope("tests"), db.transaction() as session:
        session.get_one(type(world.acme), world.acme.id).platform_daily_limit = None
    return Crowd(world, platform, campaign.id)


def days_ago(count: float) -> dt.datetime:
    """A time in the past."""
    return db.now() - dt.timedelta(days=count)


def set_blast(blast_id: object, **values: object) -> None:
    """As if something of the blast had become so."""
    with db.system_scope("tests"), db.transaction() as session:
        session.execute(update(Blast).where(Blast.id == blast_id).values(**values))


def set_letters(ids: list[int], **values: object) -> None:
    """As if something of these letters had become so."""
    with db.system_scope("tests"), db.transaction() as session:
        session.execute(update(Delivery).where(Delivery.id.in_(ids)).values(**values))
