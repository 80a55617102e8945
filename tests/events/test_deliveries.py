"""GET /api/v1/deliveries/<id> and the description of the API."""

from __future__ import annotations

import datetime as dt
from typing import Any

from panel import db
from panel.events import reading
from panel.outbox.models import Attempt
from tests.events.conftest import CREATED, DENIED, ISSUED, JOINED, QUALIFIED, Api
from tests.support.world import World


def test_it_tells_state_and_attempts(world: World, api: Api) -> None:
    number = api.taken(JOINED)["deliveries"][0]["id"]
    began = dt.datetime(2026, 11, 23, 10, 0, 0, 123456, tzinfo=dt.UTC)
    with world.acme_scope(), db.transaction() as session:
        attempt = Attempt(delivery_id=int(number), fence=1, server="smtp.acme.example:587", started_at=began)
        attempt.phase, attempt.outcome = "recipient", "deferred"
        attempt.code, attempt.enhanced_code, attempt.reply = 451, "4.7.1", "451 4.7.1 Come back later"
        session.add(attempt)
    answer = api.get(f"/deliveries/{number}").get_json()
    assert answer["notification"] == "welcome"
    assert answer["state"] == "queued"
    assert answer["to"] == "robin@example.com"
    assert answer["message_id"]
    assert answer["attempts"] == [
        {
            "started_at": "2026-11-23T10:00:00.123Z",
            "ended_at": None,
            "server": "smtp.acme.example:587",
            "phase": "recipient",
            "outcome": "deferred",
            "code": 451,
            "enhanced_code": "4.7.1",
            "reply": "451 4.7.1 Come back later",
        }
    ]


def test_it_hides_deliveries_from_strangers(world: World, api: Api, stranger_api: Api) -> None:
    number = api.taken(JOINED)["deliveries"][0]["id"]
    assert stranger_api.get(f"/deliveries/{number}").status_code == 404


def test_it_describes_itself_to_anyone(world: World) -> None:
    answer = world.app.test_client().get("/api/v1/openapi.json")
    assert answer.status_code == 200
    document = answer.get_json()
    routes = {
        rule.rule.removeprefix("/api/v1").replace("<int(max=9223372036854775807):delivery_id>", "{id}")
        for rule in world.app.url_map.iter_rules()
        if rule.rule.startswith("/api/v1")
    }
    assert set(document["paths"]) == routes
    assert all_refs(document) <= {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert set(document["components"]["schemas"]["Event"]["discriminator"]["mapping"]) == set(reading.TYPES)


def all_refs(part: Any) -> set[str]:
    if isinstance(part, dict):
        inner = set().union(*map(all_refs, part.values()))
        return inner | {part["$ref"]} if "$ref" in part else inner
    return set().union(*map(all_refs, part)) if isinstance(part, list) else set()


def test_it_describes_what_it_takes(world: World, api: Api) -> None:
    schemas = world.app.test_client().get("/api/v1/openapi.json").get_json()["components"]["schemas"]
    for event in (JOINED, CREATED, QUALIFIED, DENIED, ISSUED):
        schema = schemas["".join(part.capitalize() for part in str(event["type"]).split("."))]
        assert set(schema["required"]) <= event.keys() <= schema["properties"].keys()
        assert api.report(event).status_code == 202


def test_it_answers_as_described(world: World, api: Api) -> None:
    schemas = world.app.test_client().get("/api/v1/openapi.json").get_json()["components"]["schemas"]
    accepted = api.taken(JOINED)
    assert accepted.keys() == schemas["Accepted"]["properties"].keys()
    delivery = api.get(f"/deliveries/{accepted['deliveries'][0]['id']}").get_json()
    assert delivery.keys() == schemas["Delivery"]["properties"].keys()
