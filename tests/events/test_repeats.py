"""The same event again, the same key again, and many at once."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any

import pytest
from sqlalchemy import func, select
from werkzeug.serving import make_server

from panel.campaigns.models import Campaign
from panel.events.models import Event
from panel.outbox.models import Delivery
from panel.participants import service as participants
from tests.events.conftest import CREATED, DENIED, ISSUED, JOINED, QUALIFIED, Api, F, R, new_key
from tests.support.world import World


def count(world: World, model: Any) -> int:
    with world.acme_scope() as session:
        return session.scalar(select(func.count()).select_from(model)) or 0


@pytest.mark.parametrize("event", [JOINED, CREATED, QUALIFIED, ISSUED])
def test_it_mails_nobody_again_and_says_so(world: World, api: Api, event: dict[str, Any]) -> None:
    first = api.taken(event)
    rows = count(world, Delivery)
    again = api.taken(event, status=200)
    assert (first["duplicate"], again["duplicate"]) == (False, True)
    assert again["id"] == first["id"]
    assert again["deliveries"] == first["deliveries"]
    assert count(world, Delivery) == rows
    assert count(world, Event) == 1


def test_it_takes_the_same_event_with_another_key_for_a_repeat(world: World, api: Api) -> None:
    api.report(CREATED, key="one")
    answer = api.report(CREATED, key="two")
    assert (answer.status_code, answer.get_json()["duplicate"]) == (200, True)


@pytest.mark.parametrize(
    ("event", "repeat"),
    [
        (JOINED, {**JOINED, "referrer": {"email": " ROBIN@example.com ", "last_name": "New"}}),
        (CREATED, {**CREATED, "occurred_at": "2026-01-01T00:00:00Z"}),
        (QUALIFIED, {"type": "referral.qualified", "campaign": "spring", "friend": {"email": "fi@example.com"}}),
        (ISSUED, {**ISSUED, "referrer": {"email": "somebody-else@example.com"}}),
    ],
)
def test_it_knows_the_same_event_in_other_words(world: World, api: Api, event: Any, repeat: Any) -> None:
    first = api.taken(event)
    assert api.taken(repeat, status=200)["id"] == first["id"]


@pytest.mark.parametrize(
    ("event", "other"),
    [
        (JOINED, {**JOINED, "referrer": F}),
        (CREATED, {**CREATED, "friend": {"email": "second@example.com"}}),
        (QUALIFIED, DENIED),
        (ISSUED, {**ISSUED, "reward": {"id": "rw-2"}}),
    ],
)
def test_it_tells_different_events_apart(world: World, api: Api, event: Any, other: Any) -> None:
    assert api.taken(event)["id"] != api.taken(other)["id"]


def test_it_gives_the_same_key_and_body_the_same_answer(world: World, api: Api) -> None:
    first = api.report(CREATED, key="k-1")
    again = api.report(dict(reversed(CREATED.items())), key="k-1")
    assert (first.status_code, again.status_code) == (202, 200)
    assert again.get_json() == first.get_json()


def test_it_refuses_the_same_key_with_another_body(world: World, api: Api) -> None:
    api.report(CREATED, key="k-1")
    answer = api.report(JOINED, key="k-1")
    assert answer.status_code == 409
    assert answer.mimetype == "application/problem+json"
    assert count(world, Event) == 1


def test_it_lets_a_key_be_used_again_after_a_refusal(world: World, api: Api) -> None:
    assert api.report({**CREATED, "campaign": "summer"}, key="k-1").status_code == 404
    assert api.report(CREATED, key="k-1").status_code == 202


def test_it_keeps_the_keys_of_two_accounts_apart(world: World, api: Api, stranger_api: Api) -> None:
    api.report(CREATED, key="k-1")
    assert stranger_api.report(CREATED, key="k-1").status_code == 404


@pytest.mark.parametrize("key", ["x" * 256, "nul\x00"])
def test_it_refuses_what_is_no_key(world: World, api: Api, key: str) -> None:
    batch = {"events": [{**CREATED, "idempotency_key": key}]}
    result = api.post("/events/batch", json=batch).get_json()["results"][0]
    assert result["status"] == 422
    assert result["errors"][0]["pointer"] == "/events/0/idempotency_key"


@pytest.mark.parametrize("key", [None, "k-1"])
def test_it_makes_one_referral_of_twenty_calls_at_once(world: World, spring: Campaign, key: str | None) -> None:
    server = make_server("127.0.0.1", 0, world.app, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        answers = at_once(20, server.server_port, new_key(world.acme.id), key)
    finally:
        server.shutdown()
        server.server_close()
    assert Counter(status for status, _ in answers) == {202: 1, 200: 19}
    assert len({answer["id"] for _, answer in answers}) == 1
    assert count(world, Event) == 1
    assert count(world, Delivery) == 3
    with world.acme_scope():
        referrer = participants.find(spring.id, R["email"])
        assert referrer is not None
        assert referrer.referral_count == 1


def at_once(calls: int, port: int, api_key: str, key: str | None) -> list[tuple[int, dict[str, Any]]]:
    """Posts the same event from as many threads, over sockets, all at the same moment."""
    import http.client
    import json

    ready = threading.Barrier(calls)
    answers: list[tuple[int, dict[str, Any]]] = []

    def call() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=110)
        headers = {"Authorization": f"Bearer {api_key}", "Content-Type": "application/json"}
        if key:
            headers["Idempotency-Key"] = key
        ready.wait()
        connection.request("POST", "/api/v1/events", json.dumps(CREATED), headers)
        response = connection.getresponse()
        answers.append((response.status, json.loads(response.read())))
        connection.close()

    threads = [threading.Thread(target=call) for _ in range(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers
