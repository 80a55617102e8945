"""A campaign of the account *Acme*, and its Welcome."""

from __future__ import annotations

import pytest

from panel.campaigns import service as campaigns
from panel.campaigns.service import Campaign, Details, Notification
from tests.support.world import World


@pytest.fixture
def campaign(world: World) -> Campaign:
    with world.acme_scope():
        return campaigns.create(
            Details(name="Spring referrals", company_name="Acme Coffee", referral_url="https://acme.example/r/")
        )


@pytest.fixture
def welcome(world: World, campaign: Campaign) -> Notification:
    with world.acme_scope():
        return campaigns.notification_of(campaign.id, "welcome")


@pytest.fixture
def editor(campaign: Campaign, welcome: Notification) -> str:
    """The path of the Welcome's editor."""
    return f"/campaigns/{campaign.id}/notifications/{welcome.id}"
