"""kill -9 of a worker at a named point of its conversation, and at any: nothing lost, nothing sent twice by itself."""

from __future__ import annotations

import random
import threading

import pytest

from tests.faults.conftest import Build
from tests.faults.driver import LETTERS, SEEDS, Process, Rig
from tests.faults.reconcile import reconcile
from tests.faults.sink import Passing, Point, Sink

pytestmark = pytest.mark.timeout(600)

# `replied` is after the 250 and before the worker's record of it.
NAMED: tuple[Point, ...] = ("mail", "data", "dot", "replied")
EVERY: tuple[Point, ...] = ("connect", "ehlo", "mail", "rcpt", "data", "body", "dot", "replied")


class Killer:
    """Kills the worker whose connection is the first to come to a point once so many letters were taken."""

    def __init__(self, rig: Rig, plan: list[tuple[int, Point]]) -> None:
        self._rig = rig
        self._plan = plan
        self._lock = threading.Lock()
        self._frozen: dict[int, Process] = {}
        self.victims: list[tuple[Point, str]] = []
        self.again: set[str] = set()
        """Victims whose letters came once more, and so may have met with a later kill."""

    @property
    def done(self) -> bool:
        return not self._plan and not self._frozen

    def play(self, passing: Passing) -> str | None:
        with self._lock:
            if passing.point == "rcpt" and any(victim == passing.recipient for _, victim in self.victims):
                self.again.add(passing.recipient)
            if passing.point == "replied" and passing.connection in self._frozen:
                self._kill(self._frozen.pop(passing.connection), "replied", passing)
            elif self._plan and passing.worker and len(self._rig.sink.accepted) >= self._plan[0][0]:
                self._act(self._plan[0][1], passing)
        return None

    def _act(self, point: Point, passing: Passing) -> None:
        worker = self._rig.named(passing.worker)
        if not worker.running or worker in self._frozen.values():
            return
        if point == "replied" and passing.point == "dot":
            # Frozen before the reply is written and killed after it: it is said and cannot have been recorded.
            self._frozen[passing.connection] = worker
            worker.freeze()
            del self._plan[0]
        elif point == passing.point != "replied":
            self._kill(worker, point, passing)
            del self._plan[0]

    def _kill(self, worker: Process, point: Point, passing: Passing) -> None:
        self._rig.kill(worker)
        self.victims.append((point, passing.recipient))


@pytest.mark.parametrize("pipelining", [True, False], ids=["pipelined", "stepwise"])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_worker_killed_at_a_named_point_loses_nothing_and_repeats_nothing(
    build: Build, seed: int, pipelining: bool
) -> None:
    chance = random.Random(seed)
    plan = [(20 + 40 * place + chance.randrange(25), point) for place, point in enumerate(NAMED)]
    with Sink(pipelining=pipelining, pause=0.004) as sink:
        rig = build(sink)
        killer = Killer(rig, plan)
        sink.play = killer.play
        rig.queue()
        rig.crew()
        rig.wait_until_settled()
        assert killer.done
        states = rig.states_by_recipient()
        for point, victim in killer.victims:
            # Until the server has asked for the body nothing can have been sent, so nothing is uncertain either: the
            # letter comes again, and may meet with a later kill then.
            if point in ("dot", "replied"):
                wanted = {"uncertain"}
            else:
                wanted = {"sent", "uncertain"} if victim in killer.again else {"sent"}
            assert not victim or states[victim] in wanted, point
        # Of the other connections' letters some may have been about to leave, and are uncertain without having left.
        assert len(sink.accepted) >= LETTERS - rig.states()["uncertain"]
        reconcile(rig, what="kill -9 at four points, " + ("pipelined" if pipelining else "stepwise"), seed=seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_workers_killed_at_random_lose_nothing_and_repeat_nothing(build: Build, seed: int) -> None:
    chance = random.Random(1000 + seed)
    plan = sorted((chance.randrange(5, LETTERS - 20), chance.choice(EVERY)) for _ in range(5))
    with Sink(pipelining=chance.random() < 0.7, pause=0.004) as sink:
        rig = build(sink)
        killer = Killer(rig, plan)
        sink.play = killer.play
        rig.queue()
        rig.crew()
        rig.wait_until_settled()
        reconcile(rig, what="kill -9 at random points", seed=seed, points=[point for point, _ in killer.victims])


@pytest.mark.parametrize("seed", SEEDS)
def test_all_processes_killed_at_once_lose_nothing_and_repeat_nothing(build: Build, seed: int) -> None:
    """As when the power fails."""
    chance = random.Random(2000 + seed)
    with Sink(pause=0.004) as sink:
        rig = build(sink)
        rig.queue()
        rig.crew()
        for count in sorted(chance.sample(range(10, LETTERS - 20), 2)):
            rig.wait_for_accepted(count)
            for process in list(rig.processes):
                process.freeze()
            for process in list(rig.processes):
                rig.kill(process)
            rig.restart_dead()
        rig.wait_until_settled()
        reconcile(rig, what="all processes killed at once, twice", seed=seed)
