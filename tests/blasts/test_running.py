"""A blast on its way: canceled, ended; begun by the ticker at its time, or after a person's word."""

from __future__ import annotations

import datetime as dt
import re
import threading

import pytest
from sqlalchemy import select

from panel import db
from panel.blasts import service as blasts
from panel.outbox.models import Delivery
from tests.blasts.conftest import Crowd, days_ago, set_blast, set_letters


def test_canceling_stops_what_has_not_left(crowd: Crowd) -> None:
    crowd.add(20)
    blast_id = crowd.draft()
    crowd.send(blast_id)
    left = [one.id for one in crowd.letters(blast_id)][:2]
    set_letters(left[:1], state="sent")
    set_letters(left[1:], state="sending")
    with crowd.world.acme_scope():
        assert blasts.cancel(blast_id)
        assert not blasts.cancel(blast_id)
        assert not blasts.resume(blast_id)
    assert crowd.states(blast_id) == {"sent": 1, "sending": 1, "canceled": 18}
    assert crowd.blast(blast_id).finished_at is None
    # The server said "not now" to the one that was leaving.
    set_letters(left[1:], state="deferred", next_attempt_at=db.now())
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
    set_blast(blast_id, scheduled_at=db.now() - dt.timedelta(minutes=59))
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
    set_blast(blast_id, scheduled_at=db.now() - dt.timedelta(minutes=61))
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
    set_blast(blast_id, state="asking", scheduled_at=days_ago(1))
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
    set_blast(blast_id, state="canceled")
    for pressed in (wanted, wanted | {"when": "now", "at": ""}):
        page = browser.post(f"{crowd.path(blast_id)}/send", pressed, follow_redirects=True).text
        assert "Nothing was changed" in page
    assert crowd.letters(blast_id) == []


def test_one_that_asks_can_be_canceled(crowd: Crowd) -> None:
    crowd.add(1)
    blast_id = crowd.draft()
    set_blast(blast_id, state="asking", scheduled_at=days_ago(1))
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
        set_blast(blast_id, state="scheduled", scheduled_at=days_ago(0.001))
    set_blast(broken, audience={"who": "nobody", "what": 1})
    crowd.world.tick()
    assert crowd.blast(broken).state == "scheduled"
    assert crowd.blast(good).state == "sending"
