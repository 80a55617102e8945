"""POST /api/v1/events: what each type does and who is mailed."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import func, select

from panel import db, queue
from panel.campaigns import service as campaigns
from panel.campaigns.models import Campaign
from panel.events.models import Event
from panel.outbox.models import Delivery
from panel.participants import service as participants
from panel.participants.models import Participant
from panel.suppressions import service as suppressions
from tests.events.conftest import CREATED, DENIED, ISSUED, JOINED, QUALIFIED, REWARD, Api, F, R
from tests.support.world import World


def mailed(answer: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [(each["notification"], each["to"], each["state"]) for each in answer["deliveries"]]


def person(spring: Campaign, email: str) -> Participant:
    found = participants.find(spring.id, email)
    assert found is not None
    return found


def test_it_mails_who_joined_and_the_owner(world: World, api: Api) -> None:
    assert mailed(api.taken(JOINED)) == [
        ("welcome", "robin@example.com", "queued"),
        ("new_referrer", "owner@acme.test", "queued"),
    ]


def test_it_adds_new_people_and_their_referral(world: World, api: Api, spring: Campaign) -> None:
    answer = api.taken(CREATED)
    assert {each["to"] for each in answer["deliveries"]} == {"robin@example.com", "fi@example.com", "owner@acme.test"}
    with world.acme_scope():
        referrer, friend = person(spring, "robin@example.com"), person(spring, "fi@example.com")
        assert friend.referred_by == referrer.id
        assert (friend.first_name, friend.last_name) == ("Fi", "Fo")
        assert referrer.referral_count == 1
        assert referrer.joined_at is not None


def test_it_takes_a_friend_who_was_there_before_whoever_refers_them(world: World, api: Api, spring: Campaign) -> None:
    api.taken({**JOINED, "referrer": F})
    api.taken(CREATED)
    another = {**F, "email": "lo@example.com"}
    batch = [{**JOINED, "referrer": another}, {**CREATED, "referrer": {"email": "kim@example.com"}, "friend": another}]
    results = api.post("/events/batch", json={"events": batch}).get_json()["results"]
    assert [result["deliveries"][0]["state"] for result in results] == ["queued", "queued"]
    with world.acme_scope():
        for friend, referrer in (("fi@example.com", "robin@example.com"), ("lo@example.com", "kim@example.com")):
            person = participants.find(spring.id, friend)
            assert person is not None
            assert person.referred_by == participants.find(spring.id, referrer).id  # type: ignore[union-attr]


def test_it_moves_the_referral_on(world: World, api: Api, spring: Campaign) -> None:
    api.taken(CREATED)
    api.taken(QUALIFIED)
    with world.acme_scope():
        assert person(spring, "fi@example.com").referral_state == "qualified"
        assert person(spring, "robin@example.com").qualified_count == 1
    api.taken(DENIED)
    with world.acme_scope():
        assert person(spring, "fi@example.com").referral_state == "denied"
        assert person(spring, "robin@example.com").qualified_count == 0


def test_it_takes_a_qualified_referral_that_is_new_here(world: World, api: Api, spring: Campaign) -> None:
    api.taken(QUALIFIED)
    with world.acme_scope():
        assert person(spring, "fi@example.com").referral_state == "qualified"
        assert person(spring, "robin@example.com").referral_count == 1


def test_it_knows_the_referrer_of_a_friend_named_alone(world: World, api: Api) -> None:
    api.taken(CREATED)
    answer = api.taken({"type": "referral.qualified", "campaign": "spring", "friend": {"email": "FI@Example.com"}})
    assert {each["to"] for each in answer["deliveries"]} == {"robin@example.com", "fi@example.com", "owner@acme.test"}


@pytest.mark.parametrize(
    ("event", "to"),
    [
        (ISSUED, "robin@example.com"),
        ({**ISSUED, "reward": REWARD}, "robin@example.com"),
        ({**CREATED, "type": "reward.issued", "reward": {**REWARD, "to": "friend"}}, "fi@example.com"),
        ({"type": "reward.issued", "campaign": "spring", "friend": F, "reward": REWARD}, "fi@example.com"),
    ],
)
def test_it_mails_a_reward_to_whom_it_goes(world: World, api: Api, event: dict[str, Any], to: str) -> None:
    api.taken(CREATED)
    assert [each["to"] for each in api.taken(event)["deliveries"]] == [to]


def test_it_fills_the_letter_with_what_was_reported(world: World, api: Api) -> None:
    number = api.taken(ISSUED)["deliveries"][0]["id"]
    with world.acme_scope() as session:
        values = session.get_one(Delivery, int(number)).values["tags"]
    assert values["reward.code"] == "ABC"
    assert values["reward.expires_on"] == "2027-01-31"
    assert values["referrer.first_name"] == "Robin"


def test_it_makes_a_canceled_row_for_a_notification_that_is_off(world: World, api: Api, spring: Campaign) -> None:
    with world.acme_scope():
        campaigns.switch(campaigns.notification_of(spring.id, "welcome").id, enabled=False)
    welcome = api.taken(JOINED)["deliveries"][0]
    assert (welcome["state"], welcome["reason"]) == ("canceled", "notification_disabled")


def test_it_makes_a_canceled_row_for_a_suppressed_address(world: World, api: Api, spring: Campaign) -> None:
    with world.acme_scope():
        suppressions.add("Robin@example.com", campaign_id=spring.id, reason="unsubscribed")
    welcome, to_owner = api.taken(JOINED)["deliveries"]
    assert (welcome["state"], welcome["reason"]) == ("canceled", "suppressed_unsubscribed")
    assert to_owner["state"] == "queued"


def test_it_records_without_mailing(world: World, api: Api, spring: Campaign) -> None:
    assert api.taken({**CREATED, "send_email": False})["deliveries"] == []
    assert api.taken(CREATED, status=200)["deliveries"] == []
    with world.acme_scope() as session:
        assert session.scalar(select(func.count()).select_from(Delivery)) == 0
        assert person(spring, "robin@example.com").referral_count == 1


def test_it_keeps_when_it_happened(world: World, api: Api) -> None:
    api.taken({**JOINED, "occurred_at": "2026-11-23T12:00:00.5+02:00"})
    with world.acme_scope() as session:
        assert session.scalars(select(Event.occurred_at)).one().isoformat() == "2026-11-23T10:00:00.500000+00:00"


def test_it_answers_while_redis_is_away(world: World, api: Api) -> None:
    queue.configure("redis://127.0.0.1:1")
    assert [each["state"] for each in api.taken(JOINED)["deliveries"]] == ["queued", "queued"]


def test_it_rings_for_the_workers(world: World, api: Api) -> None:
    api.taken(JOINED)
    assert queue.queue(queue.DELIVERY).count == 1


def test_it_sees_no_campaign_of_another_account(world: World, api: Api, stranger_api: Api) -> None:
    answer = stranger_api.report(JOINED)
    assert answer.status_code == 404
    assert answer.get_json()["errors"][0]["pointer"] == "/campaign"
    with db.account_scope(world.other.id) as session:
        assert session.scalar(select(func.count()).select_from(Participant)) == 0


def test_it_does_nothing_by_halves(world: World, api: Api) -> None:
    api.taken(CREATED)
    other_referrer = {**CREATED, "referrer": {"email": "new@example.com"}}
    answer = api.report(other_referrer)
    assert answer.status_code == 422
    assert answer.get_json()["errors"][0]["pointer"] == "/friend/email"
    with world.acme_scope() as session:
        assert session.scalar(select(func.count()).select_from(Participant)) == 2
        assert session.scalar(select(func.count()).select_from(Event)) == 1


def test_it_refuses_news_of_a_referral_that_nobody_made(world: World, api: Api) -> None:
    api.taken({**JOINED, "referrer": F})
    answer = api.report({"type": "referral.qualified", "campaign": "spring", "friend": F})
    assert answer.status_code == 404
    assert answer.get_json()["errors"][0]["pointer"] == "/friend/email"
    assert R["email"] not in answer.get_data(as_text=True)
