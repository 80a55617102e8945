"""Send test email: to one's own people, by the path of campaign mail, watched live."""

from __future__ import annotations

import re
import uuid

import pytest
from sqlalchemy import select

from panel import db, live
from panel.campaigns import service as campaigns
from panel.outbox.models import Delivery
from tests.deliveries.conftest import Post, platform, post
from tests.support.mailserver import MailServer
from tests.support.world import Browser

__all__ = ["platform", "post"]


def _welcome(post: Post) -> uuid.UUID:
    with post.world.acme_scope():
        return next(one.id for one in campaigns.notifications(post.campaign_id) if one.kind == "welcome")


def _page(post: Post) -> str:
    return f"/campaigns/{post.campaign_id}/notifications/{_welcome(post)}"


def _send(post: Post, browser: Browser, to: str = "owner@acme.test", **headers: str) -> tuple[int, str]:
    browser.get(_page(post))
    answer = browser.post(f"{_page(post)}/test-send", {"to": to}, headers=headers)
    return answer.status_code, answer.headers.get("Location", "") or answer.get_data(as_text=True)


def _test_deliveries() -> list[Delivery]:
    with db.system_scope("tests") as session:
        return list(session.scalars(select(Delivery).where(Delivery.kind == "test")))


@pytest.mark.parametrize("who", ["owner", "member"])
def test_it_sends_the_saved_version_by_the_accounts_own_server(post: Post, who: str) -> None:
    with MailServer() as own:
        post.use(own)
        status, location = _send(post, post.world.client(getattr(post.world, who)))
        assert status == 303
        post.world.work("interactive")
        [letter] = own.wait_for(1)
    [row] = _test_deliveries()
    assert letter.recipients == ("owner@acme.test",)
    assert row.state == "sent"
    assert row.message_id.encode() in letter.content
    assert f"test={row.id}" in location


def test_its_steps_and_its_end_are_streamed(post: Post) -> None:
    with MailServer() as own:
        post.use(own)
        _send(post, post.world.client(post.world.owner))
        post.world.work("interactive")
    [row] = _test_deliveries()
    with post.world.acme_scope():
        seen = list(live.follow(post.world.acme.id, f"delivery-{row.id}"))
    states = [one.data["state"] for one in seen if one]
    assert states[0] == "queued"
    assert "sending" in states
    last = seen[-1]
    assert last is not None
    assert last.data["result"] == "sent"
    done = {step["step"]: step["state"] for step in last.data["steps"]}
    assert done["data"] == "ok"
    assert done["recipient"] == "ok"
    assert last.data["extra"]["message_id"] == row.message_id


def test_the_stream_answers_with_fragments_and_ends(post: Post) -> None:
    browser = post.world.client(post.world.owner)
    _send(post, browser)
    post.world.work("interactive")
    [row] = _test_deliveries()
    answer = browser.get(f"{_page(post)}/test-send/{row.id}/stream", headers={"Accept": "text/event-stream"})
    assert answer.mimetype == "text/event-stream"
    body = answer.get_data(as_text=True)
    assert 'data-result="sent"' in body
    assert "event: done" in body
    assert row.message_id.strip("<>") in body


def test_a_reload_shows_it_again_even_when_the_stream_is_forgotten(post: Post) -> None:
    browser = post.world.client(post.world.owner)
    _, location = _send(post, browser)
    post.world.work("interactive")
    assert 'data-result="sent"' in browser.get(location).get_data(as_text=True)
    _redis(post).delete(*_redis(post).keys("ownpost:live:*"))
    again = browser.get(location).get_data(as_text=True)
    assert 'data-result="sent"' in again
    assert 'data-step="data" data-state="ok"' in again


def test_htmx_gets_the_live_task_and_an_address_to_come_back_to(post: Post) -> None:
    browser = post.world.client(post.world.owner)
    browser.get(_page(post))
    answer = browser.post(f"{_page(post)}/test-send", {"to": "owner@acme.test"}, headers={"HX-Request": "true"})
    [row] = _test_deliveries()
    assert answer.status_code == 200
    assert f"test={row.id}" in answer.headers["HX-Replace-Url"]
    assert re.search(r'hx-sse:connect="[^"]+/stream"', answer.get_data(as_text=True))


@pytest.mark.parametrize("to", ["stranger@elsewhere.test", "owner@other.test", "", "a@b.test\r\nBcc: c@d.test"])
def test_it_goes_to_nobody_else(post: Post, to: str) -> None:
    status, _ = _send(post, post.world.client(post.world.owner), to)
    assert status == 422
    assert _test_deliveries() == []


def test_a_stranger_gets_a_404(post: Post) -> None:
    stranger = post.world.client(post.world.stranger)
    answer = stranger.post(f"{_page(post)}/test-send", {"to": "owner@other.test"})
    assert answer.status_code == 404
    _send(post, post.world.client(post.world.owner))
    [row] = _test_deliveries()
    assert stranger.get(f"{_page(post)}/test-send/{row.id}/stream").status_code == 404


def test_without_a_worker_it_says_so_and_the_letter_still_goes_out(post: Post) -> None:
    from panel.testsend import service

    browser = post.world.client(post.world.owner)
    _send(post, browser)
    [row] = _test_deliveries()
    with post.world.acme_scope():
        snapshot = live.latest(post.world.acme.id, f"delivery-{row.id}")
        assert snapshot is not None
        live.publish(post.world.acme.id, f"delivery-{row.id}", {**snapshot.data, "started_at": 1.0})
        service.give_up(post.world.acme.id, row.id)
        last = live.latest(post.world.acme.id, f"delivery-{row.id}")
    assert last is not None
    assert last.over
    assert "nothing is lost" in last.data["headline"]
    post.due_now()
    post.send()
    assert post.get(row.id).state == "sent"


def test_it_is_limited(post: Post) -> None:
    post.world.reconfigure(OWNPOST_LIMIT_TESTS="1/minute")
    browser = post.world.client(post.world.owner)
    assert _send(post, browser)[0] == 303
    answer = browser.post(f"{_page(post)}/test-send", {"to": "owner@acme.test"})
    assert answer.status_code == 429
    assert int(answer.headers["Retry-After"]) > 0


def _redis(post: Post):
    from panel import queue

    return queue.connection()
