"""Anything at any time, several at once: the promise holds all the same. The long run is the one that counts."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable

import pytest

from tests.faults.conftest import Build
from tests.faults.driver import LETTERS, LONG, SEEDS, Process, Rig
from tests.faults.reconcile import reconcile
from tests.faults.sink import HangUp, Passing, Sink
from tests.support.postgres import Cluster

pytestmark = pytest.mark.timeout(600)

COUNT = 3 * LETTERS if LONG else LETTERS
DEEDS = 14 if LONG else 6


class _Moody:
    """A server that now and then refuses for a while, or hangs up, at any point."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)
        self.on = True

    def play(self, passing: Passing) -> str | None:
        if not self.on or passing.point in ("body", "replied") or self._chance.random() > 0.01:
            return None
        if self._chance.random() < 0.3 and passing.point != "dot":
            raise HangUp
        return self._chance.choice(["421 4.3.2 busy", "451 4.3.0 try again later", "450 4.2.0 greylisted"])


class _Chaos:
    def __init__(self, rig: Rig, chance: random.Random, cluster: Cluster | None) -> None:
        self._rig = rig
        self._chance = chance
        self._cluster = cluster
        self._frozen: list[Process] = []
        self.done: list[str] = []

    def act(self) -> None:
        """Does one thing, by chance."""
        deeds: list[Callable[[], None]] = [self._kill, self._kill, self._term, self._freeze, self._flush, self._jump]
        deeds += [self._crash] if self._cluster is not None else []
        deed = self._chance.choice(deeds)
        self.done.append(deed.__name__.strip("_"))
        deed()

    def end(self) -> None:
        for process in self._frozen:
            process.signal(signal.SIGCONT)

    def _process(self) -> Process | None:
        running = [one for one in self._rig.processes if one.running and one not in self._frozen]
        return self._chance.choice(running) if running else None

    def _kill(self) -> None:
        if (process := self._process()) is not None:
            self._rig.kill(process)

    def _term(self) -> None:
        if (process := self._process()) is not None:
            # One that waits for a reply may have to leave its letters uncertain; so may one that is still starting.
            self._rig.note("SIGTERM", process)
            process.signal(signal.SIGTERM)

    def _freeze(self) -> None:
        process = self._process()
        if process is not None and len(self._frozen) < 2:
            process.freeze()
            if self._rig.database_is_free():
                self._frozen.append(process)
            else:
                process.signal(signal.SIGCONT)

    def _flush(self) -> None:
        self._rig.redis.flushall()

    def _jump(self) -> None:
        self._rig.jump(3600)

    def _crash(self) -> None:
        assert self._cluster is not None
        stopped = time.time()
        self._cluster.stop(self._chance.choice([signal.SIGINT, signal.SIGQUIT]))
        self._rig.go_on(0.3)
        self._cluster.start()
        # A commit that is cut off may leave a row `sending` whose letter never left.
        self._rig.note("database crashed", since=stopped)


@pytest.mark.parametrize("seed", SEEDS)
def test_anything_at_any_time_loses_nothing_and_repeats_nothing(
    build: Build, request: pytest.FixtureRequest, seed: int
) -> None:
    chance = random.Random(3000 + seed)
    moody = _Moody(seed)
    with Sink(play=moody.play, pipelining=chance.random() < 0.7, pause=0.004) as sink:
        rig = build(sink)
        cluster = None if rig.sqlite_path() else request.getfixturevalue("cluster")
        chaos = _Chaos(rig, chance, cluster)
        rig.queue(COUNT)
        rig.crew()
        for _ in range(DEEDS):
            rig.go_on(chance.uniform(0.1, 0.6))
            chaos.act()
            rig.pass_time()
        moody.on = False
        rig.go_on(1.0)
        chaos.end()
        rig.wait_until_settled(120, time_passes=True)
        reconcile(rig, what="anything at any time", seed=seed, chaos=chaos.done)
