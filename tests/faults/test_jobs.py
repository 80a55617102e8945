"""Jobs that are doubled, timed out, or not ours at all; and a letter that can never be made."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from rq import Queue
from rq.serializers import DefaultSerializer, JSONSerializer

from panel import queue
from tests.faults.conftest import Build
from tests.faults.driver import LEASE, LETTERS, LONG_LEASE
from tests.faults.reconcile import reconcile
from tests.faults.sink import Passing, Sink
from tests.support.wait import wait_for

pytestmark = pytest.mark.timeout(600)

DRAIN = "jobs.delivery.drain"


def test_the_same_job_rung_fifty_times_sends_each_letter_once(build: Build) -> None:
    with Sink(pause=0.002) as sink:
        rig = build(sink, lease=LONG_LEASE)
        rig.queue()
        for _ in range(50):
            assert queue.ring(queue.DELIVERY, DRAIN, timeout=-1)
        rig.crew()
        rig.wait_until_settled()
        reconcile(rig, what="the same job enqueued 50 times", uncertain_at_most=0)


def test_a_letter_that_always_raises_keeps_no_other_from_going_out(build: Build) -> None:
    with Sink() as sink:
        rig = build(sink, lease=LONG_LEASE)
        rig.queue()
        broken = {"p7@friends.test": {}, "p100@friends.test": {"tags": None, "to_name": 5, "footer": "x"}}
        for email, values in broken.items():
            rig.change(email, values=values)
        rig.crew()
        rig.wait_until_settled(but=len(broken))
        # Again when their time has come; still neither loops nor takes another letter along.
        rig.pass_time()
        rig.queue(20, prefix="late")
        rig.wait_for_accepted(LETTERS - len(broken) + 20)
        rig.wait_until_settled(but=len(broken))
        states = rig.states_by_recipient()
        assert {states[email] for email in broken} <= {"deferred", "failed"}
        assert not {body.recipient for body in sink.bodies} & set(broken)
        log = (rig.folder / "processes.log").read_text()
        # Two rounds, each of which may try it once.
        assert log.count("could not be carried") + log.count("cannot be made") <= 2 * 2 * len(broken), log[-3000:]
        reconcile(rig, what="two letters that always raise", uncertain_at_most=0, unsettled=set(broken))


def test_a_job_timed_out_at_the_final_dot_sends_nothing_twice(build: Build) -> None:
    hold = threading.Event()
    owed: list[str] = []

    def slow(passing: Passing) -> str | None:
        # The server takes longer than the job may and than a lease lasts.
        if passing.point == "dot" and passing.count in (20, 21) and not hold.is_set():
            owed.append(passing.recipient)
            hold.wait(LEASE + 2)
        return None

    with Sink(play=slow) as sink:
        rig = build(sink)
        rig.queue()
        rig.redis.flushall()
        for _ in range(8):
            assert queue.ring(queue.DELIVERY, DRAIN, timeout=1)
        rig.crew()
        wait_for(lambda: owed, 30, what="a letter without its final reply")
        rig.note("RQ time-out")
        rig.wait_until_settled()
        reconcile(rig, what="RQ time-out at the final dot", uncertain_at_most=2)


class Bomb:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (open, (str(self.path), "w"))


def test_pickle_and_foreign_jobs_pushed_into_redis_are_never_run(build: Build, tmp_path: Path) -> None:
    bomb, made = tmp_path / "unpickled", tmp_path / "called"
    with Sink() as sink:
        rig = build(sink, lease=LONG_LEASE)
        for name in queue.QUEUES:
            pickled = Queue(name, connection=rig.redis, serializer=DefaultSerializer)
            pickled.enqueue_call(DRAIN, args=(Bomb(bomb),), result_ttl=0)
            foreign = Queue(name, connection=rig.redis, serializer=JSONSerializer)
            foreign.enqueue_call("os.mkdir", args=(str(made),), result_ttl=0)
            rig.start("worker", "--queue", name)
        wait_for(lambda: not any(queue.queue(name).count for name in queue.QUEUES), 30, what="all jobs to be taken up")
        rig.queue(20)
        rig.start("ticker")
        rig.wait_until_settled()
        assert not bomb.exists()
        assert not made.exists()
        reconcile(rig, what="pickle pushed into Redis", uncertain_at_most=0)
