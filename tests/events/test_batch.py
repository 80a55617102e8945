"""POST /api/v1/events/batch."""

from __future__ import annotations

from sqlalchemy import func, select

from panel.events.models import Event
from tests.events.conftest import CREATED, JOINED, QUALIFIED, Api
from tests.support.world import World


def test_it_answers_each_event_in_order(world: World, api: Api) -> None:
    events = [
        CREATED,
        {**JOINED, "campaign": "summer"},
        CREATED,
        {**QUALIFIED, "friend": {"email": "x"}},
        "?",
        QUALIFIED,
    ]
    answer = api.post("/events/batch", json={"events": events})
    assert answer.status_code == 200
    results = answer.get_json()["results"]
    assert [each["status"] for each in results] == [202, 404, 200, 422, 422, 202]
    assert results[0]["id"] == results[2]["id"]
    assert results[2]["duplicate"]
    assert [each["errors"][0]["pointer"] for each in (results[1], results[3], results[4])] == [
        "/events/1/campaign",
        "/events/3/friend/email",
        "/events/4",
    ]
    with world.acme_scope() as session:
        assert session.scalar(select(func.count()).select_from(Event)) == 2


def test_it_heeds_the_key_of_each_event(world: World, api: Api) -> None:
    keyed = {**CREATED, "idempotency_key": "k-1"}
    first, again = (api.post("/events/batch", json={"events": [keyed]}).get_json()["results"][0] for _ in range(2))
    assert (first.pop("status"), again.pop("status")) == (202, 200)
    assert again == first
    other = api.post("/events/batch", json={"events": [{**JOINED, "idempotency_key": "k-1"}]})
    assert other.get_json()["results"][0]["status"] == 409
    assert api.report(CREATED, key="k-1").get_json() == first


def test_it_takes_an_empty_batch(world: World, api: Api) -> None:
    assert api.post("/events/batch", json={"events": []}).get_json() == {"results": []}


def test_it_refuses_what_is_no_batch(world: World, api: Api) -> None:
    for body in ([], {}, {"events": {}}, {"events": [{}] * 1001}):
        answer = api.post("/events/batch", json=body)
        assert answer.status_code == 422
        assert answer.get_json()["errors"][0]["pointer"] == "/events"
