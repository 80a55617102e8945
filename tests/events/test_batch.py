"""POST /api/v1/events/batch."""

from __future__ import annotations

import http.client
import json
import threading
import uuid
from collections import Counter
from typing import Any

from sqlalchemy import func, select
from werkzeug.serving import make_server

from panel.campaigns.models import Campaign
from panel.events.models import Event, IdempotentRequest
from panel.outbox.models import Delivery
from panel.participants.models import Participant
from tests.events.conftest import CREATED, JOINED, QUALIFIED, Api, new_key
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


def test_it_answers_no_more_than_a_caller_can_use_to_many_faults(world: World, api: Api) -> None:
    """Of each event one thing that is wrong is told, of all of them a hundred: an answer is not many times the call."""
    wrong = {**JOINED, **{f"~{n}": 1 for n in range(60)}}
    answer = api.post("/events/batch", json={"events": [wrong, wrong, JOINED, *[wrong] * 40]})
    results = answer.get_json()["results"]
    assert [len(each["errors"]) for each in results if each["status"] == 422] == [60, 41, *[2] * 40]
    assert results[1]["errors"][-1] == {"pointer": "/events/1", "detail": "20 more things are wrong."}
    assert results[2]["status"] == 202
    assert len(answer.data) < 3 * len(json.dumps({"events": [wrong] * 42}))


def test_it_takes_an_empty_batch(world: World, api: Api) -> None:
    assert api.post("/events/batch", json={"events": []}).get_json() == {"results": []}


def test_it_refuses_what_is_no_batch(world: World, api: Api) -> None:
    for body in ([], {}, {"events": {}}, {"events": [{}] * 1001}):
        answer = api.post("/events/batch", json=body)
        assert answer.status_code == 422
        assert answer.get_json()["errors"][0]["pointer"] == "/events"


def test_it_does_nothing_of_a_refused_event_among_others(world: World, api: Api) -> None:
    by_another = {**CREATED, "referrer": {"email": "late@example.com"}}
    answer = api.post("/events/batch", json={"events": [JOINED, CREATED, by_another, QUALIFIED]})
    results = answer.get_json()["results"]
    assert [each["status"] for each in results] == [202, 202, 422, 202]
    assert results[2]["errors"] == [
        {"pointer": "/events/2/friend/email", "detail": "Somebody else has referred this friend already."}
    ]
    with world.acme_scope() as session:
        people = {one.email: one for one in session.scalars(select(Participant))}
    assert set(people) == {"robin@example.com", "fi@example.com"}
    assert (people["robin@example.com"].referral_count, people["robin@example.com"].qualified_count) == (1, 1)


def test_it_gives_the_same_key_in_one_batch_the_same_answer(world: World, api: Api) -> None:
    keyed = {**CREATED, "idempotency_key": "k-1"}
    other = {**JOINED, "idempotency_key": "k-1"}
    results = api.post("/events/batch", json={"events": [keyed, keyed, other, keyed]}).get_json()["results"]
    assert [each.pop("status") for each in results] == [202, 200, 409, 200]
    assert results[0] == results[1] == results[3]
    with world.acme_scope() as session:
        assert session.scalar(select(func.count()).select_from(IdempotentRequest)) == 1


def test_each_letter_says_what_was_so_at_its_event(world: World, api: Api) -> None:
    friends = [{**CREATED, "friend": {"email": f"f{number}@example.com"}} for number in range(3)]
    api.post("/events/batch", json={"events": friends})
    with world.acme_scope() as session:
        letters = session.scalars(
            select(Delivery).where(Delivery.to_address == "robin@example.com").order_by(Delivery.id)
        )
        counts = [one.values["tags"]["referrer.referral_count"] for one in letters]
    assert counts == ["1", "2", "3"]


def test_it_takes_a_thousand(world: World, api: Api) -> None:
    events = [{**JOINED, "referrer": {"email": f"r{number}@example.com"}} for number in range(1000)]
    results = api.post("/events/batch", json={"events": events}).get_json()["results"]
    assert Counter(each["status"] for each in results) == {202: 1000}
    assert [each["deliveries"][0]["to"] for each in results] == [f"r{number}@example.com" for number in range(1000)]
    with world.acme_scope() as session:
        for result in results[::97]:
            letter = session.get_one(Delivery, int(result["deliveries"][0]["id"]))
            assert letter.event_id == uuid.UUID(result["id"])


def test_it_makes_one_of_each_of_twenty_same_batches_at_once(world: World, spring: Campaign) -> None:
    events = [CREATED, JOINED, QUALIFIED] + [
        {**CREATED, "friend": {"email": f"f{number}@example.com"}} for number in range(60)
    ]
    # Half of them come in the opposite order, and so lock the same people the other way round.
    answers = _at_once(world, [events if number % 2 else events[3:][::-1] for number in range(20)])
    assert Counter(status for status, _ in answers) == {200: 20}
    by_status = Counter(each["status"] for _, results in answers for each in results)
    assert by_status[202] == 63
    assert sum(by_status.values()) == 10 * 63 + 10 * 60
    assert set(by_status) == {200, 202}
    with world.acme_scope() as session:
        assert session.scalar(select(func.count()).select_from(Event)) == 63
        robin = session.scalars(select(Participant).where(Participant.email == "robin@example.com")).one()
        assert (robin.referral_count, robin.qualified_count) == (61, 1)
        seen = Counter(session.execute(select(Delivery.event_id, Delivery.notification_id, Delivery.to_address)))
        assert set(seen.values()) == {1}


def _at_once(world: World, batches: list[list[dict[str, Any]]]) -> list[tuple[int, list[dict[str, Any]]]]:
    """Posts batches from as many threads, over sockets, all at the same moment."""
    server = make_server("127.0.0.1", 0, world.app, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    key, ready = new_key(world.acme.id), threading.Barrier(len(batches))
    answers: list[tuple[int, list[dict[str, Any]]]] = []

    def call(events: list[dict[str, Any]]) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=110)
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        ready.wait()
        connection.request("POST", "/api/v1/events/batch", json.dumps({"events": events}), headers)
        response = connection.getresponse()
        answers.append((response.status, json.loads(response.read()).get("results", [])))
        connection.close()

    threads = [threading.Thread(target=call, args=(events,)) for events in batches]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    server.shutdown()
    server.server_close()
    return answers
