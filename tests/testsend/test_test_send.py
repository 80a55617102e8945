"""Send test email: to one's own people, by the path of campaign mail, watched live."""

from __future__ import annotations

import datetime as dt
import re
import uuid

import pytest
from sqlalchemy import select, update

from panel import db, live, livesteps
from panel.accounts.models import User
from panel.campaigns import service as campaigns
from panel.outbox.models import Delivery
from panel.servers import service as servers
from panel.servers.models import MailServer as MailServerRow
from panel.smtp.outcome import About, FailureCode, Outcome, Phase, Verdict
from tests.deliveries.conftest import Post, platform, post
from tests.support.mailserver import MailServer
from tests.support.redisserver import RedisServer
from tests.support.world import Browser

__all__ = ["platform", "post"]

REFUSED = Outcome(
    verdict=Verdict.PERMANENT, about=About.CREDENTIALS, phase=Phase.AUTH, failure=FailureCode.AUTH_FAILED, code=535
)


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


def _wait_in_vain(post: Post) -> None:
    """As if five seconds had passed and nobody had taken the test up."""
    with db.system_scope("tests"), db.transaction() as session:
        session.execute(update(Delivery).values(made_at=db.now() - dt.timedelta(seconds=6)))


def test_without_a_worker_it_says_so_and_the_letter_still_goes_out(post: Post) -> None:
    browser = post.world.client(post.world.owner)
    _, location = _send(post, browser)
    _wait_in_vain(post)
    page = browser.get(location).get_data(as_text=True)
    assert 'data-step="queued" data-state="failed" data-code="no_worker"' in page
    assert "nothing is lost" in page
    post.due_now()
    post.send()
    [row] = _test_deliveries()
    assert row.state == "sent"
    assert 'data-result="sent"' in browser.get(location).get_data(as_text=True)


def test_a_page_that_was_told_so_asks_for_the_row_until_it_is_sent(post: Post) -> None:
    browser = post.world.client(post.world.owner)
    _send(post, browser)
    _wait_in_vain(post)
    [row] = _test_deliveries()
    look = f"{_page(post)}/test-send/{row.id}"
    told = browser.get(look, headers={"HX-Request": "true"}).get_data(as_text=True)
    assert f'hx-get="{look}" hx-trigger="every 3s"' in told
    assert "hx-sse:connect" not in told
    post.world.work("interactive")
    after = browser.get(look, headers={"HX-Request": "true"}).get_data(as_text=True)
    assert 'data-result="sent"' in after
    assert 'data-step="data" data-state="ok"' in after
    assert "every 3s" not in after


def test_its_stream_says_so_by_itself(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(livesteps, "NO_WORKER_AFTER", 0.1)
    browser = post.world.client(post.world.owner)
    _send(post, browser)
    [row] = _test_deliveries()
    body = browser.get(f"{_page(post)}/test-send/{row.id}/stream").get_data(as_text=True)
    assert 'data-code="no_worker"' in body
    assert "event: done" in body


def test_its_stream_ends_when_the_worker_was_lost_over_it(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(livesteps, "NO_WORKER_AFTER", 0.1)
    browser = post.world.client(post.world.owner)
    _send(post, browser)
    [row] = _test_deliveries()
    live.claim(post.world.acme.id, f"delivery-{row.id}")
    with db.system_scope("tests"), db.transaction() as session:
        session.execute(update(Delivery).values(state="uncertain", reason="worker_lost"))
    body = browser.get(f"{_page(post)}/test-send/{row.id}/stream").get_data(as_text=True)
    assert 'data-result="uncertain"' in body


def test_it_goes_out_though_redis_is_away(post: Post, redis_server: RedisServer) -> None:
    browser = post.world.client(post.world.owner)
    browser.get(_page(post))
    redis_server.stop()
    try:
        status, location = _send(post, browser)
        assert status == 303
        assert browser.get(location).status_code == 200
    finally:
        redis_server.start()
    post.due_now()
    post.send()
    assert [row.state for row in _test_deliveries()] == ["sent"]


def test_a_refused_password_is_explained_with_the_providers_guide(post: Post) -> None:
    with MailServer(username="hello@acme.test", password="right") as own:
        post.use(own, username="hello@acme.test", password="canary in a mine")
        with db.system_scope("tests"), db.transaction() as session:
            session.execute(update(MailServerRow).values(preset="gmail"))
        browser = post.world.client(post.world.owner)
        _, location = _send(post, browser)
        post.world.work("interactive")
    page = browser.get(location).get_data(as_text=True)
    assert 'data-step="auth" data-state="failed" data-code="auth_failed"' in page
    assert 'data-result="held"' in page
    assert "/help/gmail#" in page
    assert "canary" not in page


def test_it_belongs_to_its_notification(post: Post) -> None:
    browser = post.world.client(post.world.owner)
    _send(post, browser)
    [row] = _test_deliveries()
    with post.world.acme_scope():
        other = next(one.id for one in campaigns.notifications(post.campaign_id) if one.kind != "welcome")
    elsewhere = f"/campaigns/{post.campaign_id}/notifications/{other}"
    assert browser.get(f"{elsewhere}/test-send/{row.id}").status_code == 404
    assert browser.get(f"{elsewhere}/test-send/{row.id}/stream").status_code == 404
    assert browser.get(f"{elsewhere}?test={row.id}").status_code == 200


def test_it_is_limited(post: Post) -> None:
    post.world.reconfigure(OWNPOST_LIMIT_TESTS="1/minute")
    browser = post.world.client(post.world.owner)
    assert _send(post, browser)[0] == 303
    answer = browser.post(f"{_page(post)}/test-send", {"to": "owner@acme.test"})
    assert answer.status_code == 429
    assert int(answer.headers["Retry-After"]) > 0


def test_it_counts_tests_of_the_accounts_own_server(post: Post) -> None:
    with MailServer() as own:
        post.use(own, username="hello")
        post.world.reconfigure(OWNPOST_LIMIT_DESTINATIONS="1/hour")
        browser = post.world.client(post.world.owner)
        assert _send(post, browser)[0] == 303
        answer = browser.post(f"{_page(post)}/test-send", {"to": "owner@acme.test"})
        assert answer.status_code == 429
        assert int(answer.headers["Retry-After"]) > 3000
        assert re.search(r"Send another test in \d+ minutes", answer.get_data(as_text=True))
        fragment = browser.post(f"{_page(post)}/test-send", {"to": "owner@acme.test"}, headers={"HX-Request": "true"})
        assert (fragment.status_code, fragment.headers["HX-Reswap"]) == (429, "innerHTML")
        assert len(_test_deliveries()) == 1


def test_a_password_that_was_refused_again_and_again_is_left_alone(post: Post) -> None:
    with MailServer(username="hello", password="another") as own:
        post.use(own, username="hello", password="canary in the mine")
        with post.world.acme_scope():
            route = servers.route_of(post.address_id)
            for _ in range(5):
                servers.sign_in_ended(route, REFUSED)
        status, _ = _send(post, post.world.client(post.world.owner))
        assert status == 429
        assert _test_deliveries() == []
        assert own.sign_ins == 0


def test_the_platforms_server_is_not_counted(post: Post) -> None:
    post.world.reconfigure(OWNPOST_LIMIT_DESTINATIONS="1/hour")
    browser = post.world.client(post.world.owner)
    assert [_send(post, browser)[0] for _ in range(3)] == [303] * 3


def test_an_address_that_is_not_confirmed_is_neither_offered_nor_taken(post: Post) -> None:
    with post.world.acme_scope(), db.transaction():
        db.owned(User, post.world.member.id).confirmed_at = None
    browser = post.world.client(post.world.owner)
    page = browser.get(_page(post)).get_data(as_text=True)
    assert '<option value="owner@acme.test"' in page
    assert "member@acme.test" not in page
    status, _ = _send(post, browser, "member@acme.test")
    assert status == 422
    assert _test_deliveries() == []


def _redis(post: Post):
    from panel import queue

    return queue.connection()
