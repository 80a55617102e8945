"""A campaign with somebody in it."""

from __future__ import annotations

import pytest

from panel.campaigns import service as campaigns
from panel.campaigns.service import Campaign, Details
from panel.participants import service as participants
from panel.participants.service import Participant
from tests.support.world import World


@pytest.fixture
def spring(world: World) -> Campaign:
    details = Details(name="Spring", company_name="Acme Coffee", referral_url="https://acme.example/r/")
    with world.acme_scope():
        return campaigns.create(details)


@pytest.fixture
def robin(world: World, spring: Campaign) -> Participant:
    with world.acme_scope():
        return participants.ensure_referrer(spring.id, "robin@example.com", "Robin")[0]


@pytest.fixture
def token(world: World, robin: Participant) -> str:
    with world.app.app_context():
        return participants.unsubscribe_token(robin)
