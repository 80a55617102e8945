"""A blast that is paused and resumed: what leaves meanwhile, and what never does."""

from __future__ import annotations

import datetime as dt
import threading
from typing import Any

import pytest
from sqlalchemy import event, select, update

from panel import db
from panel.blasts import service as blasts
from panel.blasts.models import Blast
from panel.campaigns import service as campaigns
from panel.outbox import service as outbox
from panel.outbox.models import Delivery
from panel.servers import service as servers
from tests.blasts.conftest import Crowd, days_ago, set_blast, set_letters


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
    set_letters(ids, lease_owner="a worker", lease_until=db.now() + dt.timedelta(minutes=1), fence=1)
    with crowd.world.acme_scope():
        blasts.pause(blast_id)
    assert {(one.state, one.lease_owner, one.lease_until) for one in crowd.letters(blast_id)} == {("held", None, None)}


def test_a_pause_in_full_flight_stops_all_but_what_is_leaving_and_repeats_nothing(crowd: Crowd) -> None:
    crowd.add(150)
    blast_id = crowd.draft()
    crowd.send(blast_id)
    paused = threading.Event()

    def answer(verb: str, _argument: str) -> None:
        # A server that takes a few letters at once, and the next ones once the blast is paused.
        if verb == "DATA" and len(crowd.platform.messages) >= 5:
            paused.wait(30)

    crowd.platform.answer = answer
    worker = threading.Thread(target=crowd.drain)
    worker.start()
    crowd.platform.wait_for(5)
    with crowd.world.acme_scope():
        assert blasts.pause(blast_id)
    at_once = crowd.states(blast_id)
    paused.set()
    worker.join(30)
    assert not worker.is_alive()
    after = crowd.states(blast_id)
    assert after["held"] > 0
    assert after["sent"] <= at_once.get("sent", 0) + at_once.get("sending", 0)
    assert sum(after.values()) == 150
    assert len(crowd.platform.messages) == after["sent"]
    with crowd.world.acme_scope():
        assert blasts.resume(blast_id)
    crowd.drain()
    crowd.world.tick()
    crowd.drain()
    assert crowd.states(blast_id) == {"sent": 150}
    assert len({one.recipients for one in crowd.platform.messages}) == len(crowd.platform.messages) == 150


@pytest.mark.parametrize("press", ["pause", "cancel", "resume"])
def test_a_button_reaches_letters_that_a_worker_is_changing_at_that_moment(crowd: Crowd, press: str) -> None:
    crowd.add(4)
    blast_id = crowd.draft()
    crowd.send(blast_id)
    with crowd.world.acme_scope():
        if press == "resume":
            blasts.pause(blast_id)
    locked = [one.id for one in crowd.letters(blast_id)][:2]
    changed, seen, pressed = threading.Event(), threading.Event(), threading.Event()

    def claim() -> None:
        with db.system_scope("tests"), db.transaction() as session:
            session.execute(update(Delivery).where(Delivery.id.in_(locked)).values(fence=Delivery.fence + 1))
            changed.set()
            seen.wait(10)

    def look(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        # On PostgreSQL its first round has left out what is locked; on SQLite it waits for the only writer.
        if "FOR UPDATE SKIP LOCKED" in statement:
            seen.set()

    def button() -> None:
        with crowd.world.acme_scope():
            assert getattr(blasts, press)(blast_id)
        pressed.set()

    threads = [threading.Thread(target=one) for one in (claim, button)]
    threads[0].start()
    assert changed.wait(10)
    event.listen(db.engine(), "after_cursor_execute", look)
    try:
        threads[1].start()
        if db.engine().dialect.name == "sqlite":
            assert not pressed.wait(0.1)
            seen.set()
        assert pressed.wait(20)
    finally:
        event.remove(db.engine(), "after_cursor_execute", look)
        seen.set()
        for thread in threads:
            thread.join(20)
    assert crowd.states(blast_id) == {{"pause": "held", "cancel": "canceled", "resume": "queued"}[press]: 4}


def test_a_pause_is_no_time_of_trying(crowd: Crowd) -> None:
    crowd.add(1)
    blast_id = crowd.draft()
    crowd.send(blast_id)
    [one] = crowd.letters(blast_id)
    later = db.now() + dt.timedelta(hours=1)
    set_letters([one.id], state="deferred", trying_since=days_ago(3.5), next_attempt_at=later)
    with crowd.world.acme_scope():
        blasts.pause(blast_id)
    set_letters([one.id], held_at=days_ago(3))
    with crowd.world.acme_scope():
        blasts.resume(blast_id)
    [one] = crowd.letters(blast_id)
    assert one.trying_since is not None
    assert dt.timedelta(hours=11) < db.now() - one.trying_since < dt.timedelta(hours=13)
    # Nor does it make the server's "not now" forgotten.
    assert (one.state, one.held_at, one.next_attempt_at) == ("queued", None, later)


@pytest.mark.parametrize("due", [3.2, 2.0], ids=["it was due at the pause", "it became due meanwhile"])
def test_a_pause_that_a_letter_was_due_in_is_left_out_of_its_trying_once(crowd: Crowd, due: float) -> None:
    tried = 3.5 - max(due, 3.0)  # days, from the first try until it was due or the pause began
    crowd.add(1)
    blast_id = crowd.draft()
    crowd.send(blast_id)
    [one] = crowd.letters(blast_id)
    set_letters([one.id], state="deferred", trying_since=days_ago(3.5), next_attempt_at=days_ago(due))
    with crowd.world.acme_scope():
        blasts.pause(blast_id)
    set_letters([one.id], held_at=days_ago(3))
    with crowd.world.acme_scope():
        blasts.resume(blast_id)
    crowd.platform.answer = lambda verb, _: "451 4.2.0 not now" if verb == "RCPT" else None
    crowd.drain()
    [one] = crowd.letters(blast_id)
    assert one.trying_since is not None
    assert abs(db.now() - one.trying_since - dt.timedelta(days=tried)) < dt.timedelta(minutes=10)


def test_a_letter_that_is_claimed_at_the_pause_goes_on_with_the_trying_that_it_had(crowd: Crowd) -> None:
    crowd.add(1)
    blast_id = crowd.draft()
    crowd.send(blast_id)
    [one] = crowd.letters(blast_id)
    lease = {"lease_owner": "w", "lease_until": db.now() + dt.timedelta(minutes=1), "made_at": days_ago(4)}
    set_letters([one.id], state="deferred", trying_since=days_ago(3.5), next_attempt_at=lease["lease_until"], **lease)
    with crowd.world.acme_scope():
        blasts.pause(blast_id)
        blasts.resume(blast_id)
    crowd.platform.answer = lambda verb, _: "451 4.2.0 not now" if verb == "RCPT" else None
    crowd.drain()
    [one] = crowd.letters(blast_id)
    assert one.trying_since is not None
    assert abs(db.now() - one.trying_since - dt.timedelta(days=3.5)) < dt.timedelta(minutes=10)


def test_what_is_leaving_at_the_pause_is_held_when_it_comes_back(crowd: Crowd) -> None:
    crowd.add(2)
    blast_id = crowd.draft()
    crowd.send(blast_id)
    leaving, waiting = (one.id for one in crowd.letters(blast_id))
    set_letters([leaving], state="sending")
    with crowd.world.acme_scope():
        blasts.pause(blast_id)
    assert crowd.states(blast_id) == {"sending": 1, "held": 1}
    set_letters([leaving], state="deferred", reason="recipient_refused", next_attempt_at=db.now())
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
    set_letters(ids, made_at=days_ago(30), held_at=days_ago(30))
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
    set_blast(blast_id, state="sending")
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
    set_letters([crowd.letters(blast_id)[0].id], state="held", reason=outbox.BLAST_PAUSED, held_at=db.now())
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
