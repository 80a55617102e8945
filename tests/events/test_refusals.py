"""What the API does not take, and how it says so."""

from __future__ import annotations

import json
import time
import uuid

import pytest
from sqlalchemy import delete, func, select

from panel import db
from panel.campaigns.models import Notification
from panel.deliveries import service as deliveries
from panel.events.models import Event
from panel.participants.models import Participant
from tests.events.conftest import CREATED, DENIED, ISSUED, JOINED, QUALIFIED, REWARD, Api, F, R, new_key
from tests.support.world import World

JSON = {"Content-Type": "application/json"}

WRONG = [
    ({}, "/type"),
    ({"type": "referral.invented", "campaign": "spring"}, "/type"),
    ({**JOINED, "type": ["referrer.joined"]}, "/type"),
    ({**JOINED, "campaign": None}, "/campaign"),
    ({**JOINED, "campaign": 7}, "/campaign"),
    ({"type": "referrer.joined", "campaign": "spring"}, "/referrer"),
    ({**JOINED, "referrer": "robin@example.com"}, "/referrer"),
    ({**JOINED, "referrer": {}}, "/referrer/email"),
    ({**JOINED, "referrer": {"email": "robin"}}, "/referrer/email"),
    ({**JOINED, "referrer": {"email": "robin@example.com\r\nBcc: x@example.com"}}, "/referrer/email"),
    ({**JOINED, "referrer": {**R, "first_name": "a\x00b"}}, "/referrer/first_name"),
    ({**JOINED, "referrer": {**R, "first_name": "a\u2028b"}}, "/referrer/first_name"),
    ({**JOINED, "referrer": {**R, "first_name": "\ud800"}}, "/referrer/first_name"),
    ({**JOINED, "referrer": {**R, "first_name": "x" * 101}}, "/referrer/first_name"),
    ({**JOINED, "referrer": {**R, "phone": "1"}}, "/referrer/phone"),
    ({**JOINED, "friend": F}, "/friend"),
    ({**JOINED, "a/b~c": 1}, "/a~1b~0c"),
    ({"type": "referral.created", "campaign": "spring", "referrer": R}, "/friend"),
    ({**CREATED, "friend": {"email": "ROBIN@example.com"}}, "/friend/email"),
    ({**QUALIFIED, "reward": REWARD}, "/reward"),
    ({**DENIED, "denial": {"reason": "x" * 301}}, "/denial/reason"),
    ({**ISSUED, "reward": {"name": "Coffee"}}, "/reward/id"),
    ({**ISSUED, "reward": {**REWARD, "id": "  "}}, "/reward/id"),
    ({**ISSUED, "reward": {**REWARD, "to": "owner"}}, "/reward/to"),
    ({**ISSUED, "reward": {**REWARD, "to": "friend"}}, "/friend"),
    ({**ISSUED, "friend": F, "reward": REWARD}, "/reward/to"),
    ({**ISSUED, "reward": {**REWARD, "expires_on": "2027-02-30"}}, "/reward/expires_on"),
    ({**ISSUED, "reward": {**REWARD, "expires_on": "2027-02-01T00:00"}}, "/reward/expires_on"),
    ({**JOINED, "occurred_at": "2026-11-23 10:00"}, "/occurred_at"),
    ({**JOINED, "occurred_at": "2026-11-23T10:00:00"}, "/occurred_at"),
    ({**JOINED, "occurred_at": "2026-11-31T10:00:00Z"}, "/occurred_at"),
    ({**JOINED, "occurred_at": "9999-12-31T23:59:59-23:59"}, "/occurred_at"),
    ({**JOINED, "occurred_at": 1763892000}, "/occurred_at"),
    ({**JOINED, "send_email": "no"}, "/send_email"),
    ([JOINED], ""),
    ("event", ""),
]


def test_it_names_the_field(world: World, api: Api) -> None:
    for event, pointer in WRONG:
        answer = api.report(event)
        assert answer.status_code == 422, event
        assert answer.mimetype == "application/problem+json"
        problem = answer.get_json()
        assert problem["status"] == 422
        assert [error["pointer"] for error in problem["errors"]] == [pointer], event
        assert problem["errors"][0]["detail"] in problem["detail"]
    with world.acme_scope() as session:
        assert session.scalar(select(func.count()).select_from(Participant)) == 0
        assert session.scalar(select(func.count()).select_from(Event)) == 0


def test_it_names_all_that_is_wrong(world: World, api: Api) -> None:
    answer = api.report({**CREATED, "campaign": "", "friend": {"email": "x"}, "send_email": 1, "extra": None})
    pointers = {error["pointer"] for error in answer.get_json()["errors"]}
    assert pointers == {"/campaign", "/friend/email", "/send_email", "/extra"}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff\xfe{}",
        b"\xef\xbb\xbf{}",
        b'{"type": NaN}',
        b'{"a": -Infinity}',
        b"[" * 50_000,
        b'{"type": ' + b"1" * 5_000 + b"}",
        b'{"type": 1, "type": 2}',
        b'{"a": {"b": 1, "b": 1}}',
        b"{} {}",
    ],
    ids=[
        "empty",
        "cut off",
        "not UTF-8",
        "a byte order mark",
        "NaN",
        "Infinity",
        "a deep nest",
        "a long number",
        "a member twice",
        "a member twice inside",
        "two values",
    ],
)
def test_it_answers_400_to_what_is_no_json(world: World, api: Api, body: bytes) -> None:
    answer = api.post("/events", data=body, headers=JSON)
    assert answer.status_code == 400
    assert answer.mimetype == "application/problem+json"


def test_it_names_the_member_that_came_twice(world: World, api: Api) -> None:
    body = json.dumps(JOINED)[:-1] + ', "campaign": "summer"}'
    answer = api.post("/events", data=body, headers=JSON)
    assert (answer.status_code, answer.get_json()["detail"]) == (
        400,
        "The member `campaign` appears twice in one object.",
    )


@pytest.mark.parametrize("value", ["1e999", "-1e999", "1" * 4_000, "[" * 900 + "]" * 900], ids=lambda text: text[:5])
def test_it_names_a_field_with_an_absurd_value(world: World, api: Api, value: str) -> None:
    body = f'{{"type": "referrer.joined", "campaign": {value}, "referrer": {value}}}'
    answer = api.post("/events", data=body, headers=JSON)
    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.get_json()["errors"]] == ["/campaign", "/referrer"]


def test_it_reads_many_members_in_no_time(world: World, api: Api) -> None:
    """However many names there are, each is looked at once."""
    members = ", ".join(f'"{number}": 0' for number in range(120_000))
    began = time.process_time()
    answer = api.post("/events/batch", data=f'{{{members}, "1": 0}}', headers=JSON)
    assert answer.status_code == 400
    assert time.process_time() - began < 5


def test_it_tells_the_first_faults_and_how_many_more_there_are(world: World, api: Api) -> None:
    answer = api.report({**JOINED, **{f"x{n:03}": 1 for n in range(150)}, "🎈" * 500: 1})
    assert answer.status_code == 422
    errors = answer.get_json()["errors"]
    assert [each["pointer"] for each in errors] == [*(f"/x{n:03}" for n in range(100)), ""]
    assert errors[-1]["detail"] == "51 more things are wrong."
    assert answer.get_json()["detail"].endswith(" 51 more things are wrong.")
    [error] = api.report({**JOINED, "🎈" * 500: 1}).get_json()["errors"]
    assert error["pointer"] == "/" + "🎈" * 50


def test_it_answers_429_to_a_key_that_is_used_too_often(world: World, api: Api) -> None:
    world.reconfigure(OWNPOST_LIMIT_API="3/minute")
    mine, other = (Api(world.app.test_client(), new_key(world.acme.id)) for _ in range(2))
    assert [mine.get("/deliveries/1").status_code for _ in range(3)] == [404] * 3
    answer = mine.report(JOINED)
    assert (answer.status_code, answer.mimetype) == (429, "application/problem+json")
    assert 1 <= int(answer.headers["Retry-After"]) <= 60
    assert "used too often" in answer.get_json()["detail"]
    assert other.report(JOINED).status_code == 202


def test_it_answers_415_to_another_kind_of_content(world: World, api: Api) -> None:
    answer = api.post("/events", data={"type": "referrer.joined"})
    assert answer.status_code == 415
    assert answer.get_json()["title"] == "Unsupported Media Type"


@pytest.mark.parametrize(("path", "size"), [("/events", 70_000), ("/events/batch", 2_200_000)])
def test_it_answers_413_to_too_much(world: World, api: Api, path: str, size: int) -> None:
    answer = api.post(path, data=b" " * size, headers=JSON)
    assert answer.status_code == 413
    assert answer.mimetype == "application/problem+json"


@pytest.mark.parametrize("path", ["/events", "/events/batch"])
def test_it_answers_404_while_its_account_is_being_deleted(world: World, api: Api, path: str) -> None:
    """A call that was let in before finds the campaign, whose notifications are gone already."""
    with world.acme_scope() as session, db.transaction():
        session.execute(delete(Notification).execution_options(synchronize_session=False))
    answer = api.post(path, json={"events": [JOINED]} if path.endswith("batch") else JOINED)
    assert (answer.status_code, answer.mimetype) == (404, "application/problem+json")
    with world.acme_scope() as session:
        assert session.scalar(select(func.count()).select_from(Event)) == 0
        assert session.scalar(select(func.count()).select_from(Participant)) == 0


def test_a_letter_of_an_address_that_goes_at_this_moment_has_the_default_ones_domain(world: World) -> None:
    with world.acme_scope():
        assert deliveries.from_domain(uuid.uuid4()) == deliveries.from_domain(None)


def test_it_answers_404_to_an_unknown_campaign(world: World, api: Api) -> None:
    answer = api.report({**JOINED, "campaign": "summer"})
    assert answer.status_code == 404
    assert answer.get_json()["errors"][0]["pointer"] == "/campaign"


@pytest.mark.parametrize("path", ["/nothing", "/deliveries/1", "/deliveries/x", "/deliveries/" + "9" * 30])
def test_it_answers_404_as_a_problem(world: World, api: Api, path: str) -> None:
    answer = api.get(path)
    assert answer.status_code == 404
    assert answer.mimetype == "application/problem+json"


def test_it_answers_405_as_a_problem(world: World, api: Api) -> None:
    answer = api.get("/events")
    assert (answer.status_code, answer.mimetype) == (405, "application/problem+json")
    assert "POST" in answer.headers["Allow"]


@pytest.mark.parametrize("given", [None, "Bearer", "Bearer wrong", "Basic b3A6b3A=", "Bearer \x7f"])
def test_it_answers_401_without_a_key(world: World, api: Api, given: str | None) -> None:
    headers = {"Authorization": given} if given else {}
    for answer in (
        world.app.test_client().post("/api/v1/events", json=JOINED, headers=headers),
        world.app.test_client().get("/api/v1/deliveries/1", headers=headers),
    ):
        assert (answer.status_code, answer.mimetype) == (401, "application/problem+json")
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_it_answers_401_to_a_revoked_key(world: World, api: Api) -> None:
    from panel import db
    from panel.accounts.models import ApiKey

    key = new_key(world.acme.id)
    with world.acme_scope(), db.transaction() as session:
        for row in session.scalars(select(ApiKey)):
            row.revoked_at = db.now()
    assert Api(world.app.test_client(), key).report(JOINED).status_code == 401


def test_it_does_not_take_a_browser_session_for_a_key(world: World) -> None:
    browser = world.client(world.owner)
    assert browser.client.post("/api/v1/events", json=JOINED).status_code == 401
