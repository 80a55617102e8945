"""How far a blast is: counted, its pace measured, shown live to everybody who looks on."""

from __future__ import annotations

import re
import time

import pytest

from panel import live
from panel.blasts import progress
from panel.servers import service as servers
from tests.blasts.conftest import Crowd, set_letters


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
        set_letters(some, state=state)
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


def test_a_snapshot_of_the_version_before_is_read_and_replaced(crowd: Crowd) -> None:
    crowd.add(2)
    blast_id = crowd.draft()
    crowd.send(blast_id)
    old = {"state": "sending", "recipients": 2, "counts": {"queued": 2}, "samples": [], "at": time.time()}
    assert progress.read(old).limits == servers.Keeps()
    for age in (0.0, 2.0):  # seconds: it is taken as it is, or told from what is counted anew
        with crowd.world.acme_scope():
            data = {**old, "at": old["at"] - age}
            live.publish(crowd.world.acme.id, progress.task_of(blast_id), data, over=False, keep=1)
        assert crowd.progress(blast_id).waiting == 2
        page = crowd.world.client(crowd.world.owner).get(crowd.path(blast_id))
        assert page.status_code == 200
    with crowd.world.acme_scope():
        newest = live.latest(crowd.world.acme.id, progress.task_of(blast_id))
    assert newest is not None
    assert {"limits", "foretold_at"} <= newest.data.keys()
