"""A blast on its way: paused, resumed, canceled, counted; begun by the ticker at its time, or after a person's word."""

from __future__ import annotations

import datetime as dt
import re
import threading
import time
from typing import Any

import pytest
from sqlalchemy import select, update

from panel import db, live
from panel.blasts import progress
from panel.blasts import service as blasts
from panel.blasts.models import Blast
from panel.campaigns import service as campaigns
from panel.outbox import service as outbox
from panel.outbox.models import Delivery
from panel.servers import service as servers
from tests.blasts.conftest import Crowd, days_ago


def _set(blast_id: object, **values: object) -> None:
    """As if something of the blast had become so."""
    with db.system_scope("tests"), db.transaction() as session:
        session.execute(update(Blast).where(Blast.id == blast_id).values(**values))


def _set_letters(ids: list[int], **values: object) -> None:
    with db.system_scope("tests"), db.transaction() as session:
        session.execute(update(Delivery).where(Delivery.id.in_(ids)).values(**values))


def test_a_paused_blast_sends_nothing_until_it_is_resumed_in_the_old_order(crowd: Crowd) -> None:
    crowd.add(30)
    blast_id = crowd.draft()
    crowd.send(blast_id)
    with crowd.world.acme_scope():
        assert blasts.pause(blast_id)
        assert not blasts.pause(blast_id)
    crowd.drain()
    crowd.world.tick()
    crowd.drain()
    assert crowd.platform.messages == []
    assert crowd.states(blast_id) == {"held": 30}
    assert {one.reason for one in crowd.letters(blast_id)} == {outbox.BLAST_PAUSED}
    with crowd.world.acme_scope():
        assert blasts.resume(blast_id)
        assert not blasts.resume(blast_id)
    assert crowd.states(blast_id) == {"queued": 30}
    crowd.drain()
    assert crowd.states(blast_id) == {"sent": 30}
    assert len(crowd.platform.messages) == 30


def test_a_pause_takes_letters_from_workers_that_have_claimed_them(crowd: Crowd) -> None:
    crowd.add(3)
    blast_id = crowd.draft()
    crowd.send(blast_id)
    ids = [one.id for one in crowd.letters(blast_id)]
    _set_letters(ids, lease_owner="a worker", lease_until=db.now() + dt.timedelta(minutes=1), fence=1)
    with crowd.world.acme_scope():
        blasts.pause(blast_id)
    assert {(one.state, one.lease_owner, one.lease_until) for one in crowd.letters(blast_id)} == {("held", None, None)}


def test_a_pause_in_full_flight_stops_all_but_what_is_leaving_and_repeats_nothing(crowd: Crowd) -> None:
    crowd.add(150)
    blast_id = crowd.draft()
    crowd.send(blast_id)
    crowd.platform.answer = _slowly
    worker = threading.Thread(target=crowd.drain)
    worker.start()
    crowd.platform.wait_for(5)
    with crowd.world.acme_scope():
        assert blasts.pause(blast_id)
    at_once = crowd.states(blast_id)
    worker.join(30)
    assert not worker.is_alive()
    after = crowd.states(blast_id)
    assert after["held"] > 0
    assert after["sent"] <= at_once.get("sent", 0) + at_once.get("sending", 0)
    assert sum(after.values()) == 150
    assert len(crowd.platform.messages) == after["sent"]
    with crowd.world.acme_scope():
        assert blasts.resume(blast_id)
    crowd.platform.answer = lambda _verb, _argument: None
    crowd.drain()
    crowd.world.tick()
    crowd.drain()
    assert crowd.states(blast_id) == {"sent": 150}
    assert len({one.recipients for one in crowd.platform.messages}) == len(crowd.platform.messages) == 150


def _slowly(verb: str, _argument: str) -> None:
    if verb == "DATA":
        time.sleep(0.02)  # a server that takes its time over each letter


def test_a_pause_is_no_time_of_trying(crowd: Crowd) -> None:
    crowd.add(1)
    blast_id = crowd.draft()
    crowd.send(blast_id)
    [one] = crowd.letters(blast_id)
    later = db.now() + dt.timedelta(hours=1)
    _set_letters([one.id], state="deferred", trying_since=days_ago(3.5), next_attempt_at=later)
    with crowd.world.acme_scope():
        blasts.pause(blast_id)
    _set_letters([one.id], held_at=days_ago(3))
    with crowd.world.acme_scope():
        blasts.resume(blast_id)
    [one] = crowd.letters(blast_id)
    assert one.trying_since is not None
    assert dt.timedelta(hours=11) < db.now() - one.trying_since < dt.timedelta(hours=13)
    # Nor does it make the server's "not now" forgotten.
    assert (one.state, one.held_at, one.next_attempt_at) == ("queued", None, later)


def test_what_is_leaving_at_the_pause_is_held_when_it_comes_back(crowd: Crowd) -> None:
    crowd.add(2)
    blast_id = crowd.draft()
    crowd.send(blast_id)
    leaving, waiting = (one.id for one in crowd.letters(blast_id))
    _set_letters([leaving], state="sending")
    with crowd.world.acme_scope():
        blasts.pause(blast_id)
    assert crowd.states(blast_id) == {"sending": 1, "held": 1}
    _set_letters([leaving], state="deferred", reason="recipient_refused", next_attempt_at=db.now())
    crowd.world.tick()
    assert crowd.states(blast_id) == {"held": 2}
    assert {one.reason for one in crowd.letters(blast_id)} == {outbox.BLAST_PAUSED}
    assert waiting in {one.id for one in crowd.letters(blast_id)}


def test_neither_a_working_server_nor_time_nor_another_route_frees_what_a_person_holds(crowd: Crowd) -> None:
    crowd.add(2)
    blast_id = crowd.draft()
    crowd.send(blast_id)
    with crowd.world.acme_scope():
        blasts.pause(blast_id)
    ids = [one.id for one in crowd.letters(blast_id)]
    _set_letters(ids, made_at=days_ago(30), held_at=days_ago(30))
    crowd.world.tick()
    assert crowd.states(blast_id) == {"held": 2}
    with crowd.world.acme_scope():
        campaign = campaigns.get(crowd.campaign_id)
        details = campaigns.Details(
            name="Spring",
            company_name="Acme",
            referral_url=campaign.referral_url,
            address_id=servers.route_of(None).address_id,
        )
        campaigns.edit(campaign.id, details)
    assert crowd.states(blast_id) == {"held": 2}
    assert {one.address_id for one in crowd.letters(blast_id)} == {details.address_id}
    crowd.world.tick()
    assert crowd.states(blast_id) == {"held": 2}


def test_a_pause_that_overlaps_with_a_resume_leaves_nothing_held(crowd: Crowd) -> None:
    crowd.add(10)
    blast_id = crowd.draft()
    crowd.send(blast_id)
    with crowd.world.acme_scope():
        blasts.pause(blast_id)
    # The blast runs again, and whoever resumed it was lost before it freed any.
    _set(blast_id, state="sending")
    crowd.world.tick()
    assert crowd.states(blast_id) == {"queued": 10}


@pytest.mark.parametrize("now", ["paused", "sending", "canceled"])
def test_a_ticker_that_is_late_undoes_nothing_that_a_person_has_said_since(
    crowd: Crowd, monkeypatch: pytest.MonkeyPatch, now: str
) -> None:
    crowd.add(10)
    blast_id = crowd.draft()
    crowd.send(blast_id)
    late = "resume_blast"
    if now == "sending":
        late = "pause_blast"
        with crowd.world.acme_scope():
            blasts.pause(blast_id)
    freely, pressed = getattr(outbox, late), []

    def after_the_button(*args: Any, **options: Any) -> Any:
        if not pressed:  # between what the ticker has read and what it does
            pressed.append(now)
            with crowd.world.acme_scope():
                press = {"paused": blasts.pause, "sending": blasts.resume, "canceled": blasts.cancel}[now]
                assert press(blast_id)
        return freely(*args, **options)

    monkeypatch.setattr(outbox, late, after_the_button)
    crowd.world.tick()
    assert pressed == [now]
    assert crowd.states(blast_id) == {{"paused": "held", "sending": "queued", "canceled": "canceled"}[now]: 10}


def test_a_piece_that_is_under_way_is_waited_for(crowd: Crowd) -> None:
    crowd.add(4)
    blast_id = crowd.draft()
    crowd.send(blast_id)
    _set_letters([crowd.letters(blast_id)[0].id], state="held", reason=outbox.BLAST_PAUSED, held_at=db.now())
    paused, began = threading.Event(), threading.Event()

    def pause() -> None:
        with crowd.world.acme_scope():
            began.set()
            blasts.pause(blast_id)
            paused.set()

    thread = threading.Thread(target=pause)
    with crowd.world.acme_scope(), db.transaction():
        # What a piece is: it has seen that the blast runs, and has not committed yet.
        runs = select(Blast.id).where(Blast.id == blast_id, Blast.state == "sending")
        assert outbox.resume_blast(blast_id, as_long_as=runs) == 1
        thread.start()
        began.wait(10)
        assert not paused.wait(0.3)
    thread.join(20)
    assert paused.is_set()
    assert crowd.states(blast_id) == {"held": 4}


def test_canceling_stops_what_has_not_left(crowd: Crowd) -> None:
    crowd.add(20)
    blast_id = crowd.draft()
    crowd.send(blast_id)
    left = [one.id for one in crowd.letters(blast_id)][:2]
    _set_letters(left[:1], state="sent")
    _set_letters(left[1:], state="sending")
    with crowd.world.acme_scope():
        assert blasts.cancel(blast_id)
        assert not blasts.cancel(blast_id)
        assert not blasts.resume(blast_id)
    assert crowd.states(blast_id) == {"sent": 1, "sending": 1, "canceled": 18}
    assert crowd.blast(blast_id).finished_at is None
    # The server said "not now" to the one that was leaving.
    _set_letters(left[1:], state="deferred", next_attempt_at=db.now())
    crowd.world.tick()
    assert crowd.states(blast_id) == {"sent": 1, "canceled": 19}
    blast = crowd.blast(blast_id)
    assert blast.state == "canceled"
    assert blast.finished_at is not None
    crowd.drain()
    assert crowd.platform.messages == []


def test_a_paused_blast_can_be_canceled(crowd: Crowd) -> None:
    crowd.add(5)
    blast_id = crowd.draft()
    crowd.send(blast_id)
    with crowd.world.acme_scope():
        blasts.pause(blast_id)
        assert blasts.cancel(blast_id)
    assert crowd.states(blast_id) == {"canceled": 5}
    assert crowd.blast(blast_id).finished_at is not None


def test_it_pauses_and_cancels_in_pieces(crowd: Crowd, monkeypatch: pytest.MonkeyPatch) -> None:
    from panel.outbox import many

    monkeypatch.setattr(many, "_AT_ONCE", 7)
    crowd.add(30)
    blast_id = crowd.draft()
    crowd.send(blast_id)
    with crowd.world.acme_scope():
        blasts.pause(blast_id)
        assert crowd.states(blast_id) == {"held": 30}
        blasts.resume(blast_id)
        assert crowd.states(blast_id) == {"queued": 30}
        blasts.cancel(blast_id)
    assert crowd.states(blast_id) == {"canceled": 30}


def test_the_ticker_ends_a_blast_whose_letters_have_all_ended(crowd: Crowd) -> None:
    crowd.add(3)
    blast_id = crowd.draft()
    crowd.send(blast_id)
    crowd.world.tick()
    assert crowd.blast(blast_id).state == "sending"
    crowd.drain()
    crowd.world.tick()
    blast = crowd.blast(blast_id)
    assert blast.state == "done"
    assert blast.finished_at is not None


def test_it_starts_at_its_time_and_not_before(crowd: Crowd) -> None:
    crowd.add(4)
    blast_id = crowd.draft()
    with crowd.world.acme_scope():
        assert blasts.schedule(blast_id, db.now() + dt.timedelta(hours=1))
        assert not blasts.schedule(blast_id, db.now() + dt.timedelta(hours=2))
    crowd.world.tick()
    assert crowd.blast(blast_id).state == "scheduled"
    assert crowd.letters(blast_id) == []
    _set(blast_id, scheduled_at=db.now() - dt.timedelta(minutes=59))
    threads = [threading.Thread(target=crowd.world.tick) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert crowd.blast(blast_id).state == "sending"
    assert len(crowd.letters(blast_id)) == 4


def _questions(crowd: Crowd) -> list[Delivery]:
    with crowd.world.acme_scope() as session:
        return list(session.scalars(select(Delivery).where(Delivery.kind == "system")))


def test_over_an_hour_late_it_asks_its_owner_once(crowd: Crowd) -> None:
    crowd.add(4)
    blast_id = crowd.draft()
    with crowd.world.acme_scope():
        blasts.schedule(blast_id, db.now() + dt.timedelta(hours=1))
    _set(blast_id, scheduled_at=db.now() - dt.timedelta(minutes=61))
    crowd.world.tick()
    crowd.world.tick()
    assert crowd.blast(blast_id).state == "asking"
    assert crowd.letters(blast_id) == []
    [question] = _questions(crowd)
    assert question.to_address == "owner@acme.test"
    assert f"http://127.0.0.1:8000{crowd.path(blast_id)}" in question.values["text"]
    browser = crowd.world.client(crowd.world.owner)
    assert crowd.path(blast_id) in browser.get("/").text
    page = browser.get(crowd.path(blast_id)).text
    assert "It did not start in time" in page
    version = re.search(r'name="version" value="([^"]+)"', page)
    assert version is not None
    answer = browser.post(f"{crowd.path(blast_id)}/send", {"version": version[1], "when": "now"})
    assert answer.status_code == 303
    assert len(crowd.letters(blast_id)) == 4
    assert crowd.path(blast_id) not in browser.get("/").text


def test_one_that_asks_can_be_given_another_time(crowd: Crowd) -> None:
    crowd.add(1)
    blast_id = crowd.draft()
    _set(blast_id, state="asking", scheduled_at=days_ago(1))
    browser = crowd.world.client(crowd.world.owner)
    version = re.search(r'name="version" value="([^"]+)"', browser.get(crowd.path(blast_id)).text)
    assert version is not None
    at = (db.now() + dt.timedelta(days=2)).strftime("%Y-%m-%dT%H:%M")
    wanted = {"version": version[1], "when": "later", "at": at}
    page = browser.post(f"{crowd.path(blast_id)}/send", wanted, follow_redirects=True).text
    assert "It goes out at the set time" in page
    blast = crowd.blast(blast_id)
    assert blast.state == "scheduled"
    assert blast.scheduled_at is not None
    assert blast.scheduled_at > db.now() + dt.timedelta(days=1)
    crowd.world.tick()
    assert crowd.letters(blast_id) == []
    # Whoever presses a button that does nothing any more is told.
    _set(blast_id, state="canceled")
    for pressed in (wanted, wanted | {"when": "now", "at": ""}):
        page = browser.post(f"{crowd.path(blast_id)}/send", pressed, follow_redirects=True).text
        assert "Nothing was changed" in page
    assert crowd.letters(blast_id) == []


def test_one_that_asks_can_be_canceled(crowd: Crowd) -> None:
    crowd.add(1)
    blast_id = crowd.draft()
    _set(blast_id, state="asking", scheduled_at=days_ago(1))
    browser = crowd.world.client(crowd.world.owner)
    browser.post(f"{crowd.path(blast_id)}/cancel")
    blast = crowd.blast(blast_id)
    assert (blast.state, blast.started_at) == ("canceled", None)
    assert blast.finished_at is not None
    assert "canceled before it started" in browser.get(crowd.path(blast_id)).text


def test_a_blast_that_cannot_start_does_not_keep_others_from_it(crowd: Crowd) -> None:
    crowd.add(1)
    broken, good = crowd.draft(), crowd.draft()
    for blast_id in (broken, good):
        _set(blast_id, state="scheduled", scheduled_at=days_ago(0.001))
    _set(broken, audience={"who": "nobody", "what": 1})
    crowd.world.tick()
    assert crowd.blast(broken).state == "scheduled"
    assert crowd.blast(good).state == "sending"


def test_progress_is_counted_and_its_pace_measured(crowd: Crowd, monkeypatch: pytest.MonkeyPatch) -> None:
    crowd.add(10)
    blast_id = crowd.draft()
    crowd.send(blast_id)
    now = [1000.0]
    monkeypatch.setattr(progress.time, "time", lambda: now[0])
    first = crowd.progress(blast_id)
    assert (first.waiting, first.sent, first.per_second, first.over) == (10, 0, None, False)
    ids = [one.id for one in crowd.letters(blast_id)]
    for state, some in (("sent", ids[:4]), ("failed", ids[4:5]), ("uncertain", ids[5:6])):
        _set_letters(some, state=state)
    now[0] += 0.5
    assert crowd.progress(blast_id).sent == 0  # at most once a second
    now[0] += 1.5
    seen = crowd.progress(blast_id)
    assert (seen.waiting, seen.sent, seen.failed, seen.uncertain, seen.canceled) == (4, 4, 1, 1, 0)
    assert seen.per_second == pytest.approx(3.0)
    assert seen.seconds_left == pytest.approx(4 / 3)


def test_everybody_who_looks_on_hears_of_it_by_one_live_task(crowd: Crowd) -> None:
    crowd.add(2)
    blast_id = crowd.draft()
    crowd.send(blast_id)
    browser = crowd.world.client(crowd.world.owner)
    page = browser.get(crowd.path(blast_id)).text
    assert re.search(r'hx-sse:connect="[^"]+/stream"', page)
    assert '<meta http-equiv="refresh"' in page  # without JavaScript
    crowd.drain()
    crowd.world.tick()
    # What a browser hears that was told the news after it had been counted.
    answer = browser.get(f"{crowd.path(blast_id)}/stream", headers={"Accept": "text/event-stream"})
    assert answer.mimetype == "text/event-stream"
    body = answer.get_data(as_text=True)
    assert 'data-count="sent">2<' in body
    assert "event: done" in body
    page = browser.get(crowd.path(blast_id)).text
    assert 'data-result="done"' in page
    assert "hx-sse:connect" not in page
    assert len(list(_stream(crowd, blast_id))) == 1  # each snapshot takes the place of the one before it


def _stream(crowd: Crowd, blast_id: object) -> list[live.Snapshot]:
    with crowd.world.acme_scope():
        return [one for one in live.follow(crowd.world.acme.id, f"blast-{blast_id}") if one]


def test_progress_is_shown_without_redis(crowd: Crowd) -> None:
    crowd.add(2)
    blast_id = crowd.draft()
    crowd.send(blast_id)
    crowd.world.reconfigure(REDIS_URL="unix:///nowhere/redis.sock")
    page = crowd.world.client(crowd.world.owner).get(crowd.path(blast_id))
    assert page.status_code == 200
    assert 'data-count="waiting">2<' in page.text
