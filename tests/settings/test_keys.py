"""Settings, API keys."""

from __future__ import annotations

import datetime as dt
import re

import pytest
from sqlalchemy import select, update
from werkzeug.test import TestResponse

from panel import db
from panel.accounts import service as accounts
from panel.accounts.models import ApiKey, AuditEntry
from panel.settings import keys
from tests.events.conftest import JOINED, Api, spring
from tests.support.world import Browser, World

__all__ = ["spring"]

URL = "/settings/api-keys"
BOTH = ["events:write", "deliveries:read"]


def make(browser: Browser, label: str = "web shop", scopes: list[str] | None = None) -> TestResponse:
    return browser.submit(URL, label=label, scopes=BOTH if scopes is None else scopes)


def made(answer: TestResponse) -> str:
    """The key that the page shows."""
    assert answer.status_code == 200, answer.get_data(as_text=True)
    found = re.search(r"data-new-key>.*?<code>(op_[\w-]{40,})</code>", answer.get_data(as_text=True))
    assert found
    return found[1]


def rows(world: World) -> list[ApiKey]:
    with world.acme_scope():
        return keys.all_keys()


def audited(world: World) -> list[tuple[str, str]]:
    with world.acme_scope() as session:
        found = select(AuditEntry).where(AuditEntry.action.startswith("api_key")).order_by(AuditEntry.at)
        return [(one.action, one.subject) for one in session.scalars(found)]


def test_it_shows_a_new_key_once_and_keeps_its_hash(world: World) -> None:
    owner = world.client(world.owner)
    answer = make(owner)
    key = made(answer)
    assert answer.headers["Cache-Control"] == "no-store"
    assert f"Bearer {key}" in answer.get_data(as_text=True).replace("&#34;", '"')
    assert key not in owner.get(URL).get_data(as_text=True)
    [row] = rows(world)
    assert (row.label, row.prefix, row.scopes) == ("web shop", key[:9], BOTH)
    stored = [str(getattr(row, column.name)) for column in ApiKey.__mapper__.columns]
    assert not any(key in value for value in stored)
    with db.system_scope("tests") as session:
        assert not any(key in str(one.details) + one.subject for one in session.scalars(select(AuditEntry)))


def test_a_key_made_here_reports_events(world: World, spring: object) -> None:
    key = made(make(world.client(world.owner)))
    assert Api(world.app.test_client(), key).report(JOINED).status_code == 202


def test_it_lists_when_a_key_was_used(world: World, spring: object) -> None:
    owner = world.client(world.owner)
    key = made(make(owner))
    assert "Never" in owner.get(URL).get_data(as_text=True)
    Api(world.app.test_client(), key).report(JOINED)
    assert "Never" not in owner.get(URL).get_data(as_text=True)


def test_it_notes_the_use_of_a_key_once_a_minute_at_most(world: World, spring: object) -> None:
    api = Api(world.app.test_client(), made(make(world.client(world.owner))))
    api.get("/deliveries/1")
    first = rows(world)[0].last_used_at
    api.get("/deliveries/1")
    assert rows(world)[0].last_used_at == first
    with world.acme_scope(), db.transaction() as session:
        session.execute(update(ApiKey).values(last_used_at=db.now() - dt.timedelta(seconds=61)))
    before = rows(world)[0].last_used_at
    api.get("/deliveries/1")
    after = rows(world)[0].last_used_at
    assert before is not None
    assert after is not None
    assert after > before


def test_it_revokes_a_key_at_once(world: World, spring: object) -> None:
    owner = world.client(world.owner)
    api = Api(world.app.test_client(), made(make(owner)))
    assert api.report(JOINED).status_code == 202
    assert owner.post(f"{URL}/{rows(world)[0].id}/revoke").status_code == 303
    assert api.report(JOINED).status_code == 401
    page = owner.get(URL).get_data(as_text=True)
    assert "Revoked</span>" in page
    assert "Revoke the key for" not in page
    assert audited(world) == [("api_key.added", "web shop"), ("api_key.revoked", "web shop")]


def test_revoking_twice_changes_nothing(world: World) -> None:
    owner = world.client(world.owner)
    make(owner)
    [row] = rows(world)
    owner.post(f"{URL}/{row.id}/revoke")
    first = rows(world)[0].revoked_at
    owner.post(f"{URL}/{row.id}/revoke")
    assert rows(world)[0].revoked_at == first
    assert len(audited(world)) == 2


@pytest.mark.parametrize(
    ("label", "scopes", "words"),
    [
        ("", BOTH, "Say what the key is for"),
        ("x" * 101, BOTH, "longer than 100"),
        ("two\nlines", BOTH, "single line"),
        ("shop", [], "Choose what the key may do"),
        ("shop", ["everything"], "not a valid choice"),
    ],
)
def test_it_names_what_is_wrong(world: World, label: str, scopes: list[str], words: str) -> None:
    answer = make(world.client(world.owner), label, scopes)
    assert answer.status_code == 422
    assert words in answer.get_data(as_text=True)
    assert rows(world) == []


def test_a_key_does_only_what_its_scopes_say(world: World, spring: object) -> None:
    owner = world.client(world.owner)
    writer = Api(world.app.test_client(), made(make(owner, scopes=["events:write"])))
    reader = Api(world.app.test_client(), made(make(owner, scopes=["deliveries:read"])))
    number = writer.taken(JOINED)["deliveries"][0]["id"]
    assert reader.get(f"/deliveries/{number}").status_code == 200
    refused = [writer.get(f"/deliveries/{number}"), reader.report(JOINED), reader.post("/events/batch", json={})]
    assert [answer.status_code for answer in refused] == [403] * 3
    for answer, scope in zip(refused, ["deliveries:read", "events:write", "events:write"], strict=True):
        assert answer.mimetype == "application/problem+json"
        assert scope in answer.get_json()["detail"]
        assert f'error="insufficient_scope", scope="{scope}"' in answer.headers["WWW-Authenticate"]


def test_a_member_neither_sees_nor_makes_keys(world: World) -> None:
    member = world.client(world.member)
    assert member.get(URL).status_code == 403
    assert member.post(URL, {"label": "x", "scopes": BOTH}).status_code == 403
    assert "API keys" not in member.get("/settings/email").get_data(as_text=True)
    assert rows(world) == []


def test_it_keeps_accounts_apart(world: World) -> None:
    make(world.client(world.owner))
    [row] = rows(world)
    stranger = world.client(world.stranger)
    assert row.prefix not in stranger.get(URL).get_data(as_text=True)
    assert stranger.post(f"{URL}/{row.id}/revoke").status_code == 404
    assert rows(world)[0].revoked_at is None


def test_a_key_of_the_command_line_may_do_all(world: World) -> None:
    with world.acme_scope():
        key = accounts.add_api_key("old")
    with db.system_scope("tests"):
        caller = accounts.find_api_key(key)
    assert caller is not None
    assert caller.scopes == frozenset(BOTH)
