"""Streams of live pages: how many are open at once, and for how long."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest
from flask import Response, session
from sqlalchemy import event

from panel import db, live
from panel.signin import signins
from panel.web import sse
from tests.support.world import World

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Response]]:
    """Answers to be closed in the end. Nobody else's are open, and nobody is asked whether they are signed in."""
    monkeypatch.setattr(sse, "ASK_EVERY", 600.0)
    monkeypatch.setattr(sse, "_places", sse._Places())
    answers: list[Response] = []
    yield answers
    for answer in answers:
        answer.close()


def opens(world: World, account_id: uuid.UUID, opened: list[Response], sign_in: str = "made up") -> Response:
    with world.app.test_request_context():
        session["sign_in_id"] = sign_in
        answer = sse.stream(account_id, "a-task", lambda snapshot: f"<p>{snapshot.data['words']}</p>")
    opened.append(answer)
    return answer


def test_one_account_leaves_streams_to_the_others(world: World, opened: list[Response]) -> None:
    mine = [opens(world, world.acme.id, opened) for _ in range(sse.MAX_OF_ACCOUNT)]
    assert {answer.status_code for answer in mine} == {200}
    refused = opens(world, world.acme.id, opened)
    assert refused.status_code == 503
    assert int(refused.headers["Retry-After"]) > 0
    assert opens(world, world.other.id, opened).status_code == 200
    opened.remove(mine[0])
    mine[0].close()
    assert opens(world, world.acme.id, opened).status_code == 200


def test_all_accounts_together_leave_threads_to_the_pages(world: World, opened: list[Response]) -> None:
    statuses = [opens(world, uuid.uuid4(), opened).status_code for _ in range(sse.MAX_STREAMS + 1)]
    assert statuses == [200] * sse.MAX_STREAMS + [503]


def test_a_stream_ends_in_time_to_be_asked_for_again(
    world: World, opened: list[Response], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever may not come any more is not shown what happens from then on."""
    monkeypatch.setattr(sse, "LONGEST", 0.0)
    with world.app.app_context():
        live.publish(world.acme.id, "a-task", {"words": "first"})
        live.publish(world.acme.id, "a-task", {"words": "second"})
    events = opens(world, world.acme.id, opened).get_data(as_text=True)
    assert "first" in events
    assert "second" not in events
    assert "event: done" not in events
    with world.app.app_context():
        live.publish(world.acme.id, "a-task", {"words": "third"}, over=True)
    monkeypatch.setattr(sse, "LONGEST", 300.0)
    assert "event: done" in opens(world, world.acme.id, opened).get_data(as_text=True)


def publish(world: World, words: str, *, over: bool = False) -> None:
    with world.app.app_context():
        live.publish(world.acme.id, "a-task", {"words": words}, over=over)


def test_a_stream_ends_soon_after_the_sign_in(
    world: World, opened: list[Response], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sse, "ASK_EVERY", 0.0)
    owner = world.client(world.owner)
    with world.acme_scope():
        (signed_in,) = signins.of(world.owner.id)
    events = iter(opens(world, world.acme.id, opened, signed_in.id).response)
    publish(world, "while they are here")
    assert [next(events), next(events)][1].count("while they are here") == 1
    owner.post("/logout")
    publish(world, "after they went")
    assert list(events) == []


def test_a_stream_does_not_ask_the_database_for_every_event(world: World, opened: list[Response]) -> None:
    answer = opens(world, world.acme.id, opened)
    for number in range(20):
        publish(world, f"step {number}", over=number == 19)
    asked: list[str] = []
    event.listen(db.engine(), "before_cursor_execute", lambda _c, _cursor, statement, *_: asked.append(statement))
    assert answer.get_data(as_text=True).count("<p>step") == 20
    assert asked == []
