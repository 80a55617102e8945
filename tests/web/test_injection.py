"""Addresses and names through every entrance: refused with the field's name, or stored as one plain mailbox or line."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import func, select
from werkzeug.test import TestResponse

from panel import db
from panel.accounts import service as accounts
from panel.accounts.models import User
from panel.addresses.models import OutboundAddress
from panel.campaigns import service as campaigns
from panel.campaigns.models import Campaign
from panel.message.addresses import InvalidAddress
from panel.outbox.models import Delivery
from panel.participants.models import Participant
from panel.suppressions.models import Suppression
from tests.support.world import World

BREAKS = ["\r\n", "\n", "\r", "\0", "\x0b", "\x85", "\u2028", "\u2029"]
NO_ADDRESS = [
    *(f"robin{mark}@example.com" for mark in BREAKS),
    *(f"robin@example.com{mark}Bcc: eve@evil.example" for mark in BREAKS),
    *(
        "robin@example.com, eve@evil.example",
        "robin@example.com>\r\nRCPT TO:<eve@evil.example",
        "robin@example.com eve",
    ),
    *("Robin <robin@example.com>", "<robin@example.com>", "robin", "@example.com", "robin@", "robin@localhost"),
    *('"robin"@example.com', '"a b"@example.com', "robin(x)@example.com", "@relay.example:robin@example.com"),
    *("robin@[192.0.2.1]", "robin@[IPv6:::1]", "robin@example.com.", "robin@-example.com", "robin@a..example.com"),
    *("røbin@example.com", "robin\u202e@example.com", "robin@exa\u2066mple.com", "a" * 65 + "@example.com"),
    *(
        "robin@" + "a" * 64 + ".com",
        "robin@" + "a." * 130 + "com",
        "robin@" + "a" * 30_000,
        "mailto:robin@example.com",
    ),
]
ADDRESSES = {
    "robin@bücher.example.com": "robin@xn--bcher-kva.example.com",
    " robin@example.com ": "robin@example.com",
    "robin%elsewhere.example@example.com": "robin%elsewhere.example@example.com",
    "elsewhere.example!robin@example.com": "elsewhere.example!robin@example.com",
    "o'neil+x@example.com": "o'neil+x@example.com",
}
NO_LINE = [
    *(f"Robin{mark}Bcc: eve@evil.example" for mark in BREAKS),
    "Robin\u202e",
    "\u2066Robin",
    "R\x1b[2J",
    "x" * 301,
]
TOO_LONG = "x" * 201  # for what is stored; a subject may be longer


@dataclass(frozen=True)
class Entrance:
    """One way in: what is asked, which status is a refusal, and which rows an accepted one makes."""

    ask: Callable[[str], TestResponse | None]
    refused: int
    rows: Any


@pytest.fixture
def world(world: World) -> World:
    """Where tests are not counted."""
    world.reconfigure(OWNPOST_LIMIT_TESTS="1000/minute")
    return world


@pytest.fixture
def campaign_id(world: World) -> uuid.UUID:
    with world.acme_scope():
        details = campaigns.Details(name="Spring", company_name="Acme", referral_url="https://acme.test/r/")
        return campaigns.create(details, slug="spring").id


@pytest.fixture
def entrances(world: World, campaign_id: uuid.UUID) -> dict[str, Entrance]:
    browser = world.client(world.owner)
    with world.acme_scope():
        key = accounts.add_api_key("tests")
        notification_id = campaigns.notifications(campaign_id)[0].id
    client = world.app.test_client()

    def reported(event: dict[str, Any]) -> TestResponse:
        body = {"campaign": "spring", "send_email": False, **event}
        return client.post("/api/v1/events", json=body, headers={"Authorization": f"Bearer {key}"})

    def joined(address: str) -> TestResponse:
        return reported({"type": "referrer.joined", "referrer": {"email": address}})

    def referred(address: str) -> TestResponse:
        created = {"type": "referral.created", "referrer": {"email": "kim@x.example.com"}}
        return reported({**created, "friend": {"email": address}})

    def user(address: str) -> None:
        with db.system_scope("tests"):
            accounts.add_user(account_id=world.acme.id, email=address, password_hash="x")

    base = f"/campaigns/{campaign_id}"
    return {
        "a participant by hand": Entrance(
            lambda address: browser.post(f"{base}/participants", {"email": address}), 422, Participant.email
        ),
        "a referrer by the API": Entrance(joined, 422, Participant.email),
        "a friend by the API": Entrance(referred, 422, Participant.email),
        "an outbound address": Entrance(
            lambda address: browser.post("/settings/email", {"email": address, "display_name": "x"}),
            422,
            OutboundAddress.email,
        ),
        "a suppression": Entrance(
            lambda address: browser.post("/suppressions", {"address": address, "campaign": ""}),
            422,
            Suppression.address,
        ),
        "a test send": Entrance(
            lambda address: browser.post(f"{base}/notifications/{notification_id}/test-send", {"to": address}),
            422,
            Delivery.to_address,
        ),
        "a user": Entrance(user, 422, User.email),
    }


def stored(world: World, column: Any) -> set[str]:
    with world.acme_scope() as session:
        return set(session.scalars(select(column)))


def test_no_entrance_takes_what_is_no_address(world: World, entrances: dict[str, Entrance]) -> None:
    for name, entrance in entrances.items():
        before = stored(world, entrance.rows)
        for address in NO_ADDRESS:
            if name == "a user":
                with pytest.raises(InvalidAddress):
                    entrance.ask(address)
                continue
            answer = entrance.ask(address)
            assert answer is not None
            assert answer.status_code == entrance.refused, (name, address[:80], answer.status_code)
        made = stored(world, entrance.rows) - before - {"kim@x.example.com"}
        assert made == set(), name


def test_every_entrance_stores_a_plain_mailbox(world: World, entrances: dict[str, Entrance]) -> None:
    for name, entrance in entrances.items():
        if name == "a test send":  # goes to people of the account only
            continue
        before = stored(world, entrance.rows) - set(ADDRESSES.values())
        for address in ADDRESSES:
            answer = entrance.ask(address)
            assert answer is None or answer.status_code < 400, (name, address, answer.text[:500])
        made = stored(world, entrance.rows) - before - {"kim@x.example.com"}
        assert made == set(ADDRESSES.values()), name


def texts(world: World, campaign_id: uuid.UUID) -> Iterator[tuple[str, Callable[[str], TestResponse], Any]]:
    """Entrances of what ends up in a header: names, and through merge tags the subject."""
    browser = world.client(world.owner)
    with world.acme_scope() as session:
        key = accounts.add_api_key("tests")
        notification_id = campaigns.notifications(campaign_id)[0].id
        with db.transaction():
            session.add(address := OutboundAddress(email="hello@acme.test", display_name="Acme", is_default=True))
        address_id = address.id
    client = world.app.test_client()

    def reported(event: dict[str, Any]) -> TestResponse:
        body = {"campaign": "spring", "send_email": False, **event}
        return client.post("/api/v1/events", json=body, headers={"Authorization": f"Bearer {key}"})

    base = f"/campaigns/{campaign_id}"
    person = {"email": "robin@example.com"}
    words = {"preheader": "", "html": "<p>x</p>", "text": ""}
    campaign = {"name": "Spring", "company_name": "Acme", "referral_url": "https://acme.test/r/", "address_id": ""}
    for column in ("first_name", "last_name"):
        yield (
            f"a participant's {column}",
            lambda text, column=column: browser.post(f"{base}/participants", {**person, column: text}),
            getattr(Participant, column),
        )
        yield (
            f"{column} by the API",
            lambda text, column=column: reported({"type": "referrer.joined", "referrer": {**person, column: text}}),
            getattr(Participant, column),
        )
    yield (
        "a display name",
        lambda text: browser.post("/settings/email", {"email": "new@acme.test", "display_name": text}),
        OutboundAddress.display_name,
    )
    yield (
        "another display name",
        lambda text: browser.post(f"/settings/email/{address_id}/name", {"display_name": text}),
        OutboundAddress.display_name,
    )
    yield (
        "a subject",
        lambda text: browser.post(f"{base}/notifications/{notification_id}", {**words, "subject": text}),
        Campaign.name,
    )
    for column in ("name", "company_name"):
        yield (
            f"a campaign's {column}",
            lambda text, column=column: browser.post(f"{base}/edit", {**campaign, column: text}),
            getattr(Campaign, column),
        )


def test_no_entrance_takes_a_text_that_is_more_than_a_line(world: World, campaign_id: uuid.UUID) -> None:
    for name, ask, column in texts(world, campaign_id):
        for text in [*NO_LINE, *([] if name == "a subject" else [TOO_LONG])]:
            assert ask(text).status_code == 422, (name, text[:40])
        assert not [value for value in stored(world, column) if re.search("evil|\x1b|\u202e|x{20}", value)], name


def test_a_letter_comes_from_an_address_of_the_account_alone(world: World, campaign_id: uuid.UUID) -> None:
    """A campaign's sender is chosen among the account's own addresses; one of another account is no choice."""
    with world.app.app_context(), db.account_scope(world.other.id), db.transaction() as session:
        session.add(theirs := OutboundAddress(email="boss@other.test", display_name="Other", is_default=True))
    browser = world.client(world.owner)
    fields = {"name": "Spring", "company_name": "Acme", "referral_url": "https://acme.test/r/"}
    for chosen in (str(theirs.id), "boss@other.test", str(uuid.uuid4()), "x"):
        answer = browser.post(f"/campaigns/{campaign_id}/edit", {**fields, "address_id": chosen})
        assert answer.status_code == 422, chosen
    with world.acme_scope() as session:
        assert session.scalar(select(func.count()).where(Campaign.address_id.is_not(None))) == 0
