"""The list of campaigns, and adding and changing one."""

from __future__ import annotations

import uuid

import pytest

from panel import db
from panel.addresses.service import OutboundAddress
from panel.campaigns import service as campaigns
from panel.campaigns.service import Campaign
from tests.support.world import World

FIELDS = {
    "name": "Autumn",
    "company_name": "Acme Coffee",
    "referral_url": "https://acme.example/r/",
    "portal_url": "",
    "address_id": "",
}


def an_address(world: World, email: str = "hello@acme.test", *, is_default: bool = False) -> OutboundAddress:
    with world.acme_scope(), db.transaction() as session:
        address = OutboundAddress(id=uuid.uuid4(), email=email, is_default=is_default)
        session.add(address)
    return address


def test_it_lists_campaigns_to_everybody_of_the_account(world: World, campaign: Campaign) -> None:
    for user in (world.owner, world.member):
        page = world.client(user).get("/campaigns").text
        assert "Spring referrals" in page
        assert f"/campaigns/{campaign.id}/edit" in page
    assert "Spring referrals" not in world.client(world.stranger).get("/campaigns").text


@pytest.mark.parametrize("who", ["owner", "member"])
def test_it_adds_a_campaign_with_its_notifications(world: World, who: str) -> None:
    answer = world.client(getattr(world, who)).submit("/campaigns/new", **FIELDS)
    assert answer.status_code == 303
    with world.acme_scope():
        found = campaigns.by_slug("autumn")
        assert found is not None
        assert answer.location == f"/campaigns/{found.id}/notifications"
        assert len(campaigns.notifications(found.id)) == len(campaigns.KINDS)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""),
        ("name", "x" * 201),
        ("name", "Autumn\r\nBcc: x@example.com"),
        ("company_name", " "),
        ("referral_url", ""),
        ("referral_url", "acme.example/r/"),
        ("referral_url", "javascript:alert(1)"),
        ("referral_url", 'https://acme.example/"><script>'),
        ("referral_url", "https://acme.example/{{ reward.name }}"),
        ("portal_url", "ftp://acme.example"),
        ("portal_url", "http://[::1"),
        ("address_id", "00000000-0000-4000-8000-000000000000"),
        ("address_id", "nonsense"),
    ],
)
def test_it_refuses_what_makes_no_campaign_and_keeps_what_was_typed(world: World, field: str, value: str) -> None:
    browser = world.client(world.owner)
    answer = browser.submit("/campaigns/new", **{**FIELDS, "company_name": "Typed & kept", field: value})
    assert answer.status_code == 422
    assert 'aria-invalid="true"' in answer.text
    assert field == "company_name" or "Typed &amp; kept" in answer.text
    with world.acme_scope():
        assert campaigns.campaigns() == []


@pytest.mark.parametrize("who", ["owner", "member"])
def test_it_changes_a_campaign_and_keeps_its_slug(world: World, campaign: Campaign, who: str) -> None:
    path = f"/campaigns/{campaign.id}/edit"
    answer = world.client(getattr(world, who)).submit(path, **{**FIELDS, "portal_url": "https://acme.example/me/"})
    assert (answer.status_code, answer.location) == (303, path)
    with world.acme_scope():
        found = campaigns.get(campaign.id)
        assert (found.name, found.portal_url, found.slug) == ("Autumn", "https://acme.example/me/", "spring-referrals")


def test_it_lets_owners_choose_the_outbound_address(world: World, campaign: Campaign) -> None:
    address = an_address(world)
    path = f"/campaigns/{campaign.id}/edit"
    world.client(world.owner).submit(path, **{**FIELDS, "address_id": str(address.id)})
    with world.acme_scope():
        assert campaigns.get(campaign.id).address_id == address.id
    member = world.client(world.member)
    assert 'name="address_id"' not in member.get(path).text
    assert member.submit(path, **{**FIELDS, "name": "Winter", "address_id": ""}).status_code == 303
    with world.acme_scope():
        found = campaigns.get(campaign.id)
        assert (found.name, found.address_id) == ("Winter", address.id)


def test_it_shows_and_changes_no_campaign_of_another_account(world: World, campaign: Campaign) -> None:
    stranger = world.client(world.stranger)
    assert stranger.get(f"/campaigns/{campaign.id}/edit").status_code == 404
    assert stranger.post(f"/campaigns/{campaign.id}/edit", FIELDS).status_code == 404
    with world.acme_scope():
        assert campaigns.get(campaign.id).name == "Spring referrals"
