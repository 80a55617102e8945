"""The overview of a campaign's notifications, and their switches."""

from __future__ import annotations

import pytest

from panel.campaigns import service as campaigns
from panel.campaigns.service import Campaign, Notification
from tests.support.world import World

WARNING = "referrers never get their referral link"


def is_on(world: World, notification: Notification) -> bool:
    with world.acme_scope():
        return campaigns.get_notification(notification.id).enabled


def test_it_shows_every_notification_by_recipient(world: World, campaign: Campaign) -> None:
    page = world.client(world.member).get(f"/campaigns/{campaign.id}/notifications").text
    headings = [page.index(f">{title}<") for title in ("To the referrer", "To the friend", "To you")]
    assert headings == sorted(headings)
    for kind in campaigns.KINDS.values():
        assert page.count(f'data-kind="{kind.key}"') == 1
        assert kind.trigger_words in page
    assert WARNING not in page


@pytest.mark.parametrize("who", ["owner", "member"])
def test_it_switches_at_once(world: World, campaign: Campaign, welcome: Notification, who: str) -> None:
    browser = world.client(getattr(world, who))
    overview = f"/campaigns/{campaign.id}/notifications"
    off = browser.post(f"{overview}/{welcome.id}/switch", headers={"HX-Request": "true"})
    assert off.status_code == 200
    assert "<html" not in off.text
    assert WARNING in off.text
    assert not is_on(world, welcome)
    on = browser.post(f"{overview}/{welcome.id}/switch", {"enabled": "1"}, headers={"HX-Request": "true"})
    assert WARNING not in on.text
    assert "checked" in on.text
    assert is_on(world, welcome)


def test_it_switches_without_javascript(world: World, campaign: Campaign, welcome: Notification) -> None:
    browser = world.client(world.owner)
    overview = f"/campaigns/{campaign.id}/notifications"
    answer = browser.post(f"{overview}/{welcome.id}/switch")
    assert (answer.status_code, answer.location) == (303, overview)
    assert WARNING in browser.get(overview).text
    assert not is_on(world, welcome)


def test_it_switches_nothing_of_another_account(world: World, campaign: Campaign, welcome: Notification) -> None:
    stranger = world.client(world.stranger)
    assert stranger.get(f"/campaigns/{campaign.id}/notifications").status_code == 404
    assert stranger.post(f"/campaigns/{campaign.id}/notifications/{welcome.id}/switch").status_code == 404
    assert is_on(world, welcome)


def test_it_finds_no_notification_under_another_campaign(world: World, welcome: Notification) -> None:
    with world.acme_scope():
        other = campaigns.create(campaigns.Details(name="B", company_name="Acme", referral_url="https://b.example/"))
    answer = world.client(world.owner).post(f"/campaigns/{other.id}/notifications/{welcome.id}/switch")
    assert answer.status_code == 404
    assert is_on(world, welcome)
