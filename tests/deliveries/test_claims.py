"""Leases and fences: whoever lost a claim changes nothing any more."""

from __future__ import annotations

import threading
import time

from sqlalchemy import update
from sqlalchemy.exc import OperationalError

from panel import db
from panel.deliveries import claims
from panel.deliveries.claims import Claim, LaneKey, LeaseLost
from panel.deliveries.decide import Decision
from panel.deliveries.record import Begun, Ended, Sending
from panel.deliveries.recorder import Entry, Recorder
from panel.outbox.service import Delivery
from panel.smtp.outcome import About, Outcome, Phase, Verdict
from tests.deliveries.conftest import Post

ACCEPTED = Outcome(verdict=Verdict.ACCEPTED, about=About.MESSAGE, phase=Phase.READY, code=250, reply="250 ok")


def _claim(delivery_id: int, owner: str = "one") -> Claim | None:
    with db.system_scope("tests"):
        claimed = claims.claim_one(delivery_id, owner=owner, lease=60)
    return claimed.claim if claimed else None


def _begin(claim: Claim) -> None:
    """The attempt's row, and then `sending`: as a lane records them."""
    Recorder(threading.Event()).write([Entry(begun=Begun(claim, "test", db.now()))])
    entry = _sending(claim)
    assert entry.error is None


def _sending(claim: Claim) -> Entry:
    entry = Entry(sending=Sending(claim, None, None, {"from_address": "hello@acme.test"}))
    Recorder(threading.Event()).write([entry])
    return entry


def _ended(claim: Claim, outcome: Outcome, decision: Decision) -> None:
    Recorder(threading.Event()).write([Entry(ended=[Ended(claim, outcome, decision, db.now())])])


def _lapse(delivery_id: int) -> None:
    with db.system_scope("tests"), db.transaction() as session:
        session.execute(update(Delivery).where(Delivery.id == delivery_id).values(lease_until=db.clock(-1)))


def test_a_claim_changes_no_state(post: Post) -> None:
    welcome = post.welcome()
    assert _claim(welcome) is not None
    assert post.get(welcome).state == "queued"


def test_nobody_else_gets_what_is_claimed(post: Post) -> None:
    welcome = post.welcome()
    assert _claim(welcome, "one") is not None
    assert _claim(welcome, "two") is None


def test_many_workers_at_once_claim_each_delivery_once(post: Post) -> None:
    made = {post.welcome(f"p{number}@friends.test") for number in range(30)}
    key = LaneKey(post.world.acme.id, None)
    got: list[int] = []

    def work(name: str) -> None:
        while True:
            with post.world.acme_scope():
                taken = claims.claim(key, owner=name, limit=3, lease=60)
            if not taken:
                return
            got.extend(one.id for one in taken)

    threads = [threading.Thread(target=work, args=(f"worker {number}",)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(got) == sorted(made)


def test_a_lapsed_claim_goes_back_to_its_queue(post: Post) -> None:
    welcome = post.welcome()
    first = _claim(welcome, "one")
    assert first is not None
    _lapse(welcome)
    post.world.tick()
    assert post.get(welcome).state == "queued"
    second = _claim(welcome, "two")
    assert second is not None
    assert second.fence > first.fence


def test_who_lost_the_lease_may_not_begin_the_body(post: Post) -> None:
    welcome = post.welcome()
    first = _claim(welcome, "one")
    assert first is not None
    _lapse(welcome)
    post.world.tick()
    _claim(welcome, "two")
    assert isinstance(_sending(first).error, LeaseLost)
    assert post.get(welcome).state == "queued"


def test_a_lapsed_sending_becomes_uncertain_and_its_own_attempt_may_still_learn_of_the_250(post: Post) -> None:
    welcome = post.welcome()
    claim = _claim(welcome)
    assert claim is not None
    _begin(claim)
    _lapse(welcome)
    post.world.tick()
    assert (post.get(welcome).state, post.get(welcome).reason) == ("uncertain", "worker_lost")
    _ended(claim, ACCEPTED, Decision("sent"))
    assert post.get(welcome).state == "sent"


def test_a_late_result_other_than_a_250_changes_nothing(post: Post) -> None:
    welcome = post.welcome()
    claim = _claim(welcome)
    assert claim is not None
    _begin(claim)
    _lapse(welcome)
    post.world.tick()
    refused = Outcome(verdict=Verdict.TEMPORARY, about=About.RECIPIENT, phase=Phase.RCPT, code=451, reply="not now")
    _ended(claim, refused, Decision("deferred", wait=1.0))
    assert post.get(welcome).state == "uncertain"
    # Its attempt ended as its delivery says; that the server spoke after all is there for whoever has to judge.
    [attempt] = post.attempts(welcome)
    assert (attempt.outcome, attempt.code, attempt.reply) == ("uncertain", 451, "not now")


def test_what_was_written_by_a_commit_whose_answer_was_lost_is_written_once(post: Post) -> None:
    first, second, third = (_claim(post.welcome(f"p{number}@friends.test")) for number in range(3))
    assert first
    assert second
    assert third
    _begin(first)
    _begin(second)
    # All that three connections have to say at one moment: before, what the first two say here has been committed.
    ended = Ended(first, ACCEPTED, Decision("sent"), db.now())
    _ended(first, ACCEPTED, Decision("sent"))
    sending = Sending(second, None, None, {"from_address": "hello@acme.test"})
    begun = Begun(second, "test", db.now())
    entries = [
        Entry(ended=[ended]),
        Entry(sending=sending, begun=begun),
        Entry(begun=Begun(third, "test", db.now())),
    ]
    started = time.monotonic()
    Recorder(threading.Event()).write(entries)
    assert time.monotonic() - started < 5  # it is no database that is away
    assert [entry.error for entry in entries] == [None, None, None]
    assert [post.get(one.delivery_id).state for one in (first, second, third)] == ["sent", "sending", "queued"]
    assert [[one.outcome for one in post.attempts(claim.delivery_id)] for claim in (first, second, third)] == [
        ["sent"],
        [None],
        [None],
    ]


def test_what_a_worker_gives_back_is_free_at_once(post: Post) -> None:
    welcome = post.welcome()
    claim = _claim(welcome, "one")
    assert claim is not None
    with db.system_scope("tests"):
        claims.release([claim])
    assert _claim(welcome, "two") is not None


def test_the_ticker_rings_for_what_a_lost_job_left(post: Post) -> None:
    from panel import queue

    welcome = post.welcome()
    queue.connection().flushall()
    post.world.tick()
    post.world.work("delivery")
    assert post.get(welcome).state == "sent"


def test_a_lost_redis_loses_no_letter(post: Post) -> None:
    from panel import queue

    queue.configure("redis://127.0.0.1:9/0")
    try:
        welcome = post.welcome()
    finally:
        queue.configure(post.world.settings.redis_url)
    post.world.tick()
    post.world.work("delivery")
    assert post.get(welcome).state == "sent"


def test_a_process_that_is_to_stop_does_not_wait_long_for_a_database_that_is_away(post: Post) -> None:
    stopping = threading.Event()
    entry = Entry(begun=Begun(Claim(1, post.world.acme.id, 1, "me"), "test", db.now()))
    db.engine().dispose()
    db.connect("postgresql+psycopg://nobody@127.0.0.1:9/nothing")
    try:
        writing = threading.Thread(target=Recorder(stopping).write, args=([entry],))
        writing.start()
        writing.join(2)
        assert writing.is_alive(), "the database may be back in a moment"
        stopping.set()
        writing.join(8)
        assert not writing.is_alive()
    finally:
        db.connect(post.world.settings.database_url)
    assert isinstance(entry.error, OperationalError)
