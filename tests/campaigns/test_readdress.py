"""A campaign that gets another outbound address: what waits takes the new way, what is over stays as it was."""

from __future__ import annotations

import dataclasses
import uuid

import pytest

from panel import db
from panel.campaigns import service as campaigns
from panel.campaigns.service import Campaign, Details
from panel.outbox import service as outbox
from panel.outbox.service import Delivery, Order
from tests.campaigns.test_pages import an_address
from tests.support.world import World


def a_delivery(campaign_id: uuid.UUID | None, state: str) -> Delivery:
    order = Order(
        kind="notification" if campaign_id else "system",
        to_address="robin@example.com",
        from_domain="acme.test",
        values={"subject": "", "text": "", "html": None},
        campaign_id=campaign_id,
    )
    with db.transaction():
        delivery = outbox.put(order)
        delivery.state = state
    return delivery


def details(campaign: Campaign, address_id: uuid.UUID | None) -> Details:
    names = {field.name for field in dataclasses.fields(Details)} - {"address_id"}
    return Details(**{name: getattr(campaign, name) for name in names}, address_id=address_id)


@pytest.mark.parametrize("state", ["queued", "deferred", "held", "sent", "failed", "uncertain", "canceled"])
def test_it_moves_only_letters_that_wait(world: World, campaign: Campaign, state: str) -> None:
    address = an_address(world)
    with world.app.app_context(), world.acme_scope():
        ours, other = a_delivery(campaign.id, state), a_delivery(None, state)
        campaigns.edit(campaign.id, details(campaign, address.id))
        waits = state in ("queued", "deferred", "held")
        db.session().expire_all()
        assert outbox.get(ours.id).address_id == (address.id if waits else None)
        # What was held waited for the old server, so the new one is tried.
        assert outbox.get(ours.id).state == ("queued" if state == "held" else state)
        assert (outbox.get(other.id).address_id, outbox.get(other.id).state) == (None, state)
        campaigns.edit(campaign.id, details(campaign, None))
        db.session().expire_all()
        assert outbox.get(ours.id).address_id is None


def test_it_leaves_letters_alone_when_the_address_stays(world: World, campaign: Campaign) -> None:
    with world.app.app_context(), world.acme_scope():
        held = a_delivery(campaign.id, "held")
        campaigns.edit(campaign.id, details(campaign, None))
        db.session().expire_all()
        assert outbox.get(held.id).state == "held"
