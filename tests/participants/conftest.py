from __future__ import annotations

import pytest

from panel.campaigns import service as campaigns
from panel.campaigns.service import Campaign, Details
from tests.support.world import World


@pytest.fixture
def campaign(world: World) -> Campaign:
    with world.acme_scope():
        return campaigns.create(Details(name="Spring", company_name="Acme", referral_url="https://acme.example/r/"))


@pytest.fixture
def path(campaign: Campaign) -> str:
    """Where files are chosen."""
    return f"/campaigns/{campaign.id}/participants/import"
