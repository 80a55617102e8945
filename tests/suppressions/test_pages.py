"""The list of suppressions, and changing it by hand."""

from __future__ import annotations

import pytest

from panel.campaigns.service import Campaign
from panel.suppressions import service as suppressions
from panel.suppressions.service import Suppression
from tests.support.world import World


@pytest.fixture
def entry(world: World, spring: Campaign) -> Suppression:
    with world.acme_scope():
        return suppressions.add("robin@example.com", campaign_id=spring.id, reason="unsubscribed")[0]


def test_it_lists_them_to_the_account(world: World, entry: Suppression) -> None:
    for user in (world.owner, world.member):
        page = world.client(user).get("/suppressions").get_data(as_text=True)
        assert "robin@example.com" in page
        assert "Spring" in page
    assert "robin@example.com" not in world.client(world.stranger).get("/suppressions").get_data(as_text=True)
    assert world.client().get("/suppressions").status_code == 302


def test_it_searches(world: World, entry: Suppression) -> None:
    browser = world.client(world.owner)
    assert "robin@example.com" in browser.get("/suppressions?q=ROBIN").get_data(as_text=True)
    assert "No such address" in browser.get("/suppressions?q=kim").get_data(as_text=True)


def test_an_owner_adds(world: World, spring: Campaign) -> None:
    browser = world.client(world.owner)
    assert browser.submit("/suppressions", address=" Kim@Example.com", campaign="").status_code == 303
    assert browser.submit("/suppressions", address="lee@example.com", campaign=str(spring.id)).status_code == 303
    with world.acme_scope():
        assert suppressions.is_suppressed("kim@example.com", None) == "added_by_hand"
        assert suppressions.is_suppressed("lee@example.com", spring.id) == "added_by_hand"
        assert suppressions.is_suppressed("lee@example.com", None) is None


@pytest.mark.parametrize(
    "fields", [{"address": "kim"}, {"address": ""}, {"address": "kim@example.com", "campaign": "x"}]
)
def test_it_gives_back_what_was_typed_wrongly(world: World, spring: Campaign, fields: dict[str, str]) -> None:
    answer = world.client(world.owner).submit("/suppressions", **{"campaign": "", **fields})
    assert answer.status_code == 422
    assert f'value="{fields["address"]}"' in answer.get_data(as_text=True)
    with world.acme_scope():
        assert suppressions.page().rows == []


def test_it_takes_no_campaign_of_another_account(world: World, spring: Campaign) -> None:
    answer = world.client(world.stranger).submit("/suppressions", address="kim@example.com", campaign=str(spring.id))
    assert answer.status_code == 422


def test_an_owner_removes(world: World, entry: Suppression) -> None:
    browser = world.client(world.owner)
    browser.get("/suppressions")
    assert browser.post(f"/suppressions/{entry.id}/remove").status_code == 303
    with world.acme_scope():
        assert suppressions.is_suppressed("robin@example.com", entry.campaign_id) is None


def test_a_member_changes_nothing(world: World, entry: Suppression) -> None:
    browser = world.client(world.member)
    assert "/remove" not in browser.get("/suppressions").get_data(as_text=True)
    assert browser.post(f"/suppressions/{entry.id}/remove").status_code == 403
    assert browser.post("/suppressions", {"address": "kim@example.com", "campaign": ""}).status_code == 403


def test_a_stranger_finds_nothing(world: World, entry: Suppression) -> None:
    assert world.client(world.stranger).post(f"/suppressions/{entry.id}/remove").status_code == 404
