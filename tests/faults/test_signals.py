"""Workers that are asked to stop, told to stop, and frozen for longer than their leases last."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from itertools import pairwise
from pathlib import Path

import pytest

from panel.campaigns import service as campaigns
from panel.testsend import service as testsend
from tests.faults.conftest import Build
from tests.faults.driver import LETTERS, LONG, LONG_LEASE, SEEDS, Process, Rig
from tests.faults.reconcile import reconcile
from tests.faults.sink import Passing, Sink
from tests.support.wait import wait_for

pytestmark = pytest.mark.timeout(600)

SHUTDOWN = 10.0
"""Seconds within which a worker that was asked to stop has ended."""
AT_ONCE = 5.0 if LONG else SHUTDOWN
"""Seconds for one that nothing keeps: an interpreter's own end, which takes longer where other tests have its cores."""


@pytest.mark.parametrize("seed", SEEDS)
def test_workers_asked_to_stop_finish_their_letters_and_give_back_the_rest(build: Build, seed: int) -> None:
    chance = random.Random(seed)
    with Sink(pause=0.02) as sink:
        rig = build(sink, lease=LONG_LEASE)
        counts = [*sorted(chance.sample(range(10, LETTERS - 40), 3)), LETTERS + 1]
        gate = _Gate(sink, counts[0])
        sink.play = gate.play
        rig.queue()
        rig.crew()
        for count, following in pairwise(counts):
            rig.wait_for_accepted(count)
            # One that is at work: the interpreter of one that is still starting has no handler yet.
            at_work = wait_for(
                lambda: [one for one in rig.workers() if sink.open_of(one.name)], 20, what="a worker with a connection"
            )
            worker = chance.choice(at_work)
            worker.signal(signal.SIGTERM)
            gate.move(following, leaving=worker.name)
            assert worker.wait(AT_ONCE) == 0
            rig.restart_dead()
        rig.wait_until_settled()
        # Letters took milliseconds, so that nothing kept it.
        assert "breaking off" not in (rig.folder / "processes.log").read_text()
        reconcile(rig, what="SIGTERM", uncertain_at_most=0, seed=seed)


class _Gate:
    """Leaves MAIL without an answer once so many letters were taken, so that workers can be met at their work."""

    def __init__(self, sink: Sink, at: int) -> None:
        self._sink = sink
        self._at = at
        self._changed = threading.Condition()
        self._leaving = ""

    def move(self, at: int, *, leaving: str) -> None:
        """Opens until `at` letters were taken; to the worker that leaves it stays open."""
        with self._changed:
            self._at, self._leaving = at, leaving
            self._changed.notify_all()

    def play(self, passing: Passing) -> str | None:
        if passing.point == "mail":
            with self._changed:
                self._changed.wait_for(
                    lambda: len(self._sink.accepted) < self._at or passing.worker == self._leaving, 60
                )
        return None


def test_a_worker_asked_to_stop_records_what_waits_for_its_final_reply_as_uncertain(build: Build) -> None:
    hold = threading.Event()
    with Sink() as sink:
        rig = build(sink)
        stalled = _Stall(hold, after=20)
        sink.play = stalled.play
        rig.queue(40)
        rig.start("ticker")
        # Leases too long to lapse: it is the worker itself that says so.
        worker = rig.worker(OWNPOST_LEASE_SECONDS="60")
        wait_for(lambda: stalled.recipients, 30, what="a letter without its final reply")
        asked = time.monotonic()
        rig.note("SIGTERM", worker)
        worker.signal(signal.SIGTERM)
        worker.wait(SHUTDOWN)
        took = time.monotonic() - asked
        states = rig.states_by_recipient()
        assert {states[one] for one in stalled.recipients} == {"uncertain"}
        assert sum(state == "sending" for state in states.values()) == 0
        sink.play = lambda _passing: None
        hold.set()
        rig.wait_until_settled()
        reconcile(rig, what="SIGTERM while a final reply is owed", shutdown_seconds=round(took, 1))


class _Stall:
    """Leaves final dots without an answer, once some letters were taken."""

    def __init__(self, hold: threading.Event, *, after: int) -> None:
        self._hold = hold
        self._after = after
        self.recipients: list[str] = []
        self.workers: set[str] = set()

    def play(self, passing: Passing) -> str | None:
        if passing.point == "dot" and passing.count > self._after and not self._hold.is_set():
            self.recipients.append(passing.recipient)
            self.workers.add(passing.worker)
            self._hold.wait(60)
        return None


def test_a_worker_told_twice_to_stop_ends_and_loses_nothing(build: Build) -> None:
    hold = threading.Event()
    with Sink() as sink:
        rig = build(sink)
        stalled = _Stall(hold, after=60)
        sink.play = stalled.play
        rig.queue()
        rig.crew(2)
        wait_for(lambda: stalled.recipients, 30, what="a letter without its final reply")
        worker = rig.named(next(iter(stalled.workers)))
        rig.note("SIGTERM twice", worker)
        worker.signal(signal.SIGTERM)
        time.sleep(1.2)  # RQ takes two signals within a second for one
        worker.signal(signal.SIGTERM)
        worker.wait(SHUTDOWN)
        sink.play = lambda _passing: None
        hold.set()
        rig.wait_until_settled()
        reconcile(rig, what="SIGTERM twice")


@pytest.mark.parametrize("seed", SEEDS)
def test_a_worker_frozen_past_its_lease_learns_of_its_250_and_sends_nothing_more(build: Build, seed: int) -> None:
    chance = random.Random(seed)
    with Sink(pause=0.004) as sink:
        rig = build(sink)
        freezer = _Freezer(rig, after=chance.randrange(20, LETTERS // 2))
        sink.play = freezer.play
        rig.queue()
        rig.crew()
        worker = wait_for(lambda: freezer.worker, 30, what="a letter in flight")
        rig.note("SIGSTOP", worker)
        victim = freezer.victim
        wait_for(lambda: rig.states_by_recipient()[victim] == "uncertain", 20, what="the lease to lapse")
        # The others finish all that is left meanwhile, what the frozen one has claimed too.
        wait_for(lambda: rig.unsettled() == 0, 60, what="an end to all other letters")
        worker.signal(signal.SIGCONT)
        wait_for(lambda: rig.states_by_recipient()[victim] == "sent", 20, what="the late 250")
        wait_for(lambda: rig.states()["uncertain"] == 0, 20, what="what the frozen worker still knew")
        worker.signal(signal.SIGTERM)
        worker.wait(SHUTDOWN)
        reconcile(rig, what="SIGSTOP past the lease, then SIGCONT", seed=seed, uncertain_at_most=0)


class _Freezer:
    """Freezes the worker whose final dot is the first after a number of letters; the 250 is written all the same."""

    def __init__(self, rig: Rig, *, after: int) -> None:
        self._rig = rig
        self._after = after
        self._lock = threading.Lock()
        self.worker: Process | None = None
        self.victim = ""

    def play(self, passing: Passing) -> str | None:
        with self._lock:
            if passing.point == "dot" and passing.count >= self._after and self.worker is None:
                worker = self._rig.named(passing.worker)
                worker.freeze()
                if self._rig.database_is_free():
                    self.victim, self.worker = passing.recipient, worker
                else:
                    # It may hold SQLite's one write lock just now, and nobody could go on; the next dot will do.
                    worker.signal(signal.SIGCONT)
        return None


def test_a_test_send_that_waits_for_its_final_reply_is_broken_off_and_recorded(build: Build) -> None:
    hold = threading.Event()
    with Sink() as sink:
        rig = build(sink)
        stalled = _Stall(hold, after=0)
        sink.play = stalled.play
        with rig.post.world.acme_scope():
            [welcome] = [one for one in campaigns.notifications(rig.post.campaign_id) if one.kind == "welcome"]
            test = testsend.start(welcome.id, campaign_id=rig.post.campaign_id, to_address="owner@acme.test")
        worker = rig.start("worker", "--queue", "interactive", OWNPOST_LEASE_SECONDS="60")
        wait_for(lambda: stalled.recipients, 30, what="a letter without its final reply")
        rig.note("SIGTERM", worker)
        worker.signal(signal.SIGTERM)
        worker.wait(SHUTDOWN)
        assert rig.post.get(test.id).state == "uncertain"
        hold.set()
        reconcile(rig, what="SIGTERM while a test send's final reply is owed")


def test_a_worker_that_dies_while_all_are_asked_to_stop_is_not_started_again(build: Build) -> None:
    with Sink() as sink:
        rig = build(sink, lease=LONG_LEASE)
        parent = rig.start("worker", "--queue", "delivery", "--count", "2")
        wait_for(lambda: len(_children(parent)) == 2, 20, what="two workers")
        os.kill(_children(parent)[0], signal.SIGKILL)
        wait_for(
            lambda: "a worker died" in (rig.folder / "processes.log").read_text(), 10, what="its end to be noticed"
        )
        # The next one would be started in a second.
        parent.signal(signal.SIGTERM)
        assert parent.wait(SHUTDOWN) == 0


def _children(process: Process) -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]
