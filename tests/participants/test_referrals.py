"""Who refers whom, counted right whatever happens at once."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable

import pytest

from panel import db
from panel.campaigns import service as campaigns
from panel.campaigns.service import Campaign, Details
from panel.message.addresses import InvalidAddress
from panel.participants import service as participants
from tests.support.world import World


def a_campaign() -> Campaign:
    return campaigns.create(Details(name="Spring", company_name="Acme", referral_url="https://acme.example/r/"))


def at_once(world: World, times: int, action: Callable[[int], object]) -> list[object]:
    """What `action` returned or raised in that many threads, each in the account's scope."""
    together = threading.Barrier(times)
    results: list[object] = []

    def act(number: int) -> None:
        with world.app.app_context(), world.acme_scope():
            together.wait(10)
            try:
                results.append(action(number))
            except ValueError as error:
                results.append(error)

    threads = [threading.Thread(target=act, args=(number,)) for number in range(times)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_it_knows_a_referrer_by_address(world: World) -> None:
    with world.acme_scope():
        campaign = a_campaign()
        first, is_new = participants.ensure_referrer(campaign.id, "Robin@Example.com", "Robin")
        again, is_new_again = participants.ensure_referrer(campaign.id, "robin@example.com", "Bobby", "Meyer")
        assert (is_new, is_new_again) == (True, False)
        assert again.id == first.id
        assert (again.first_name, again.last_name) == ("Robin", "Meyer")
        assert participants.referral_link(campaign, again) == f"https://acme.example/r/{again.referral_code}"


def test_it_refuses_what_is_no_address(world: World) -> None:
    with world.acme_scope():
        campaign = a_campaign()
        with pytest.raises(InvalidAddress):
            participants.ensure_referrer(campaign.id, "robin")
        assert participants.count(campaign.id) == 0


def test_it_counts_a_friend_once(world: World) -> None:
    with world.acme_scope():
        campaign = a_campaign()
        robin, _ = participants.ensure_referrer(campaign.id, "robin@example.com")
        results = [participants.ensure_friend(campaign.id, robin, "charlie@example.com")[1] for _ in range(2)]
        assert results == [True, False]
        assert participants.get(robin.id).referral_count == 1


def test_it_lets_only_the_first_referrer_have_a_friend(world: World) -> None:
    with world.acme_scope():
        campaign = a_campaign()
        robin, _ = participants.ensure_referrer(campaign.id, "robin@example.com")
        alex, _ = participants.ensure_referrer(campaign.id, "alex@example.com")
        participants.ensure_friend(campaign.id, robin, "charlie@example.com")
        with pytest.raises(participants.AlreadyReferred):
            participants.ensure_friend(campaign.id, alex, "charlie@example.com")
        with pytest.raises(participants.SelfReferral):
            participants.ensure_friend(campaign.id, alex, "Alex@example.com")
        assert participants.get(alex.id).referral_count == 0


def test_it_makes_a_friend_who_joins_a_referrer_too(world: World) -> None:
    with world.acme_scope():
        campaign = a_campaign()
        robin, _ = participants.ensure_referrer(campaign.id, "robin@example.com")
        friend, _ = participants.ensure_friend(campaign.id, robin, "charlie@example.com")
        assert friend.joined_at is None
        referrer, is_new = participants.ensure_referrer(campaign.id, "charlie@example.com")
        assert is_new
        assert referrer.id == friend.id
        assert referrer.joined_at is not None
        assert referrer.referred_by == robin.id


def test_it_qualifies_and_denies_a_referral_once(world: World) -> None:
    with world.acme_scope():
        campaign = a_campaign()
        robin, _ = participants.ensure_referrer(campaign.id, "robin@example.com")
        friend, _ = participants.ensure_friend(campaign.id, robin, "charlie@example.com")

        def counted() -> tuple[str | None, int]:
            db.session().refresh(robin)
            return friend.referral_state, robin.qualified_count

        assert [participants.qualify(friend), participants.qualify(friend)] == [True, False]
        assert counted() == ("qualified", 1)
        assert [participants.deny(friend), participants.deny(friend)] == [True, False]
        assert counted() == ("denied", 0)
        assert participants.qualify(friend)
        assert counted() == ("qualified", 1)


def test_it_qualifies_nobody_who_was_not_referred(world: World) -> None:
    with world.acme_scope():
        robin, _ = participants.ensure_referrer(a_campaign().id, "robin@example.com")
        with pytest.raises(participants.NotReferred):
            participants.qualify(robin)


def test_it_adds_the_same_person_once_when_many_ask_at_once(world: World) -> None:
    with world.acme_scope():
        campaign = a_campaign()
        robin, _ = participants.ensure_referrer(campaign.id, "robin@example.com")

    def refer(_number: int) -> bool:
        return participants.ensure_friend(campaign.id, participants.get(robin.id), "charlie@example.com")[1]

    assert sorted(map(str, at_once(world, 6, refer))) == ["False"] * 5 + ["True"]
    with world.acme_scope():
        assert participants.get(robin.id).referral_count == 1
        assert participants.count(campaign.id) == 2


def test_it_loses_no_count_when_many_friends_come_at_once(world: World) -> None:
    with world.acme_scope():
        campaign = a_campaign()
        robin, _ = participants.ensure_referrer(campaign.id, "robin@example.com")

    def refer(number: int) -> bool:
        friend, _ = participants.ensure_friend(campaign.id, participants.get(robin.id), f"friend{number}@example.com")
        return participants.qualify(friend)

    assert at_once(world, 6, refer) == [True] * 6
    with world.acme_scope():
        found = participants.get(robin.id)
        assert (found.referral_count, found.qualified_count) == (6, 6)


def test_it_gives_a_friend_to_one_of_two_referrers_at_once(world: World) -> None:
    with world.acme_scope():
        campaign = a_campaign()
        referrers = [participants.ensure_referrer(campaign.id, f"r{n}@example.com")[0] for n in range(4)]

    def refer(number: int) -> bool:
        return participants.ensure_friend(campaign.id, participants.get(referrers[number].id), "charlie@example.com")[1]

    results = at_once(world, 4, refer)
    assert results.count(True) == 1
    assert sum(isinstance(each, participants.AlreadyReferred) for each in results) == 3
    with world.acme_scope():
        assert sum(participants.get(each.id).referral_count for each in referrers) == 1


def test_it_fills_the_merge_tags(world: World) -> None:
    with world.acme_scope():
        campaign = a_campaign()
        robin, _ = participants.ensure_referrer(campaign.id, "robin@example.com", "Robin", "Meyer")
        values = participants.merge_values(campaign, robin, prefix="referrer")
        assert set(values) == {tag for tag in campaigns.sample(campaign) if tag.startswith("referrer.")}
        assert values["referrer.referral_link"].endswith(robin.referral_code)
        assert values["referrer.referral_count"] == "0"
        assert set(participants.merge_values(campaign, robin, prefix="friend")) == {
            tag for tag in campaigns.sample(campaign) if tag.startswith("friend.")
        }


def test_it_shows_nobody_to_another_account(world: World) -> None:
    with world.acme_scope():
        robin, _ = participants.ensure_referrer(a_campaign().id, "robin@example.com")
    with db.account_scope(world.other.id):
        with pytest.raises(db.NotFound):
            participants.get(robin.id)
        assert participants.find(robin.campaign_id, "robin@example.com") is None


def test_it_finds_a_participant_by_an_unforgeable_link(world: World) -> None:
    with world.app.app_context():
        with world.acme_scope():
            robin, _ = participants.ensure_referrer(a_campaign().id, "robin@example.com")
        token = participants.unsubscribe_token(robin)
        found = participants.find_by_token(token)
        assert found is not None
        assert found.id == robin.id
        assert participants.unsubscribe_url(robin) == f"http://127.0.0.1:8000/u/{token}"
        forged = token[:-9] + ("A" if token[-9] != "A" else "B") + token[-8:]
        assert participants.find_by_token(forged) is None
        assert participants.find_by_token("nonsense") is None
        someone = participants.Participant(id=uuid.uuid4(), account_id=world.acme.id)
        assert participants.find_by_token(participants.unsubscribe_token(someone)) is None
