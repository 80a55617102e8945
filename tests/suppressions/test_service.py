"""Who must not be mailed."""

from __future__ import annotations

import threading

from panel import db
from panel.campaigns import service as campaigns
from panel.campaigns.service import Campaign, Details
from panel.suppressions import service as suppressions
from tests.support.world import World


def test_it_suppresses_in_one_campaign_or_in_all(world: World, spring: Campaign) -> None:
    with world.acme_scope():
        other = campaigns.create(Details(name="Autumn", company_name="Acme", referral_url="https://acme.example/r/"))
        suppressions.add("One@Example.com", campaign_id=spring.id, reason="bounced")
        suppressions.add("all@example.com", reason="complained")
        assert suppressions.is_suppressed("one@example.com", spring.id) == "bounced"
        assert suppressions.is_suppressed("one@example.com", other.id) is None
        assert suppressions.is_suppressed("one@example.com", None) is None
        assert suppressions.is_suppressed("all@example.com", other.id) == "complained"
        assert suppressions.is_suppressed("all@example.com", None) == "complained"


def test_it_tells_many_at_once(world: World, spring: Campaign) -> None:
    asked = [f"p{number}@example.com" for number in range(1_200)]
    with world.acme_scope():
        for number in (0, 600, 1_199):
            suppressions.add(f"p{number}@example.com", campaign_id=spring.id)
        found = suppressions.suppressed_among(asked, spring.id)
    assert found == dict.fromkeys(["p0@example.com", "p600@example.com", "p1199@example.com"], "added_by_hand")


def test_it_holds_for_its_own_account_only(world: World, spring: Campaign) -> None:
    with world.acme_scope():
        suppressions.add("robin@example.com")
    with db.account_scope(world.other.id):
        assert suppressions.is_suppressed("robin@example.com", None) is None
        assert suppressions.page().rows == []


def test_it_takes_a_second_time_in_good_part(world: World, spring: Campaign) -> None:
    with world.acme_scope():
        first, new = suppressions.add("robin@example.com", campaign_id=spring.id)
        again, new_again = suppressions.add("robin@example.com", campaign_id=spring.id)
        assert (new, new_again, again.id) == (True, False, first.id)
        # Their own word counts for more than ours, and is never replaced by it.
        assert suppressions.add("robin@example.com", campaign_id=spring.id, reason="unsubscribed")[0].reason == (
            "unsubscribed"
        )
        assert suppressions.add("robin@example.com", campaign_id=spring.id)[0].reason == "unsubscribed"


def test_it_makes_one_row_of_many_at_once(world: World, spring: Campaign) -> None:
    ready = threading.Barrier(8)
    new: list[bool] = []

    def add() -> None:
        with db.account_scope(world.acme.id):
            ready.wait()
            new.append(suppressions.add("robin@example.com")[1])

    threads = [threading.Thread(target=add) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(new) == [False] * 7 + [True]


def test_it_lifts_only_what_the_recipient_asked_for(world: World, spring: Campaign) -> None:
    with world.acme_scope():
        suppressions.add("robin@example.com", campaign_id=spring.id, reason="unsubscribed")
        suppressions.add("robin@example.com", reason="bounced")
        suppressions.lift("robin@example.com", campaign_id=spring.id)
        suppressions.lift("robin@example.com", campaign_id=None)
        assert suppressions.is_suppressed("robin@example.com", spring.id) == "bounced"


def test_it_pages_through_the_list(world: World, spring: Campaign) -> None:
    with world.acme_scope():
        with db.transaction():
            for number in range(suppressions.PAGE_SIZE * 2 + 7):
                suppressions.add(f"p{number}@example.com")
        seen, before = [], None
        for _ in range(3):
            page = suppressions.page(before=before)
            seen += [row.address for row in page.rows]
            before = page.older
        assert before is None
    assert seen == [f"p{number}@example.com" for number in reversed(range(suppressions.PAGE_SIZE * 2 + 7))]


def test_it_finds_a_part_of_an_address(world: World, spring: Campaign) -> None:
    with world.acme_scope():
        for address in ("robin_a@example.com", "robinxa@example.com", "kim@example.com"):
            suppressions.add(address)
        assert [row.address for row in suppressions.page(search=" Robin_A").rows] == ["robin_a@example.com"]
        assert suppressions.page(search="%").rows == []
        assert len(suppressions.page(before="made-up").rows) == 3
