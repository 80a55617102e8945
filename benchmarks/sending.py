"""How fast letters go out: beside others, over a far network, in longer campaigns, and in what memory."""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from sqlalchemy import select

from benchmarks import peers, programs
from benchmarks.figures import Line, Sizes, in_turns, missing_line, ratio_line, spread
from benchmarks.ground import CONNECTIONS, Ground, PostgresStore, SqliteStore, opened
from benchmarks.ours import peak_kib
from benchmarks.peers import Peer, Turn
from panel import db, queue
from panel.outbox import states
from panel.outbox.service import Delivery
from panel.process import die_with_parent
from tests.support.wait import wait_for

Store = SqliteStore | PostgresStore

_MEMORY: Final = 150  # MB
_SCALE: Final = 1.15


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What all measurements of a run share."""

    sizes: Sizes
    folder: Path
    redis_url: str
    stores: list[Store]
    fetch: bool
    say: Callable[[str], None]
    peaks: list[int] = field(default_factory=list)


def ours(bench: Bench, store: Store, name: str, ground: Ground, count: int) -> Callable[[], Turn]:
    """A turn of ours: a copy of the ground, drained by a process of its own."""

    def turn() -> Turn:
        copy = store.fresh(name, ground)
        *told, last = programs.child("benchmarks.ours", str(count), environ=copy.environ).splitlines()
        for line in told[:5]:
            bench.say(f"{store.kind} logged: {line}")  # nothing ought to go wrong here
        figures = json.loads(last)
        bench.peaks.append(figures["peak_kib"])
        return Turn(count, figures["seconds"])

    return turn


@dataclass(frozen=True, slots=True, kw_only=True)
class Against:
    """Somebody beside whom ours is measured: in the table's words, how many letters a turn, and the goals."""

    name: str
    words: str
    make: Callable[[], Peer]
    count: int
    goal: float
    kinds: tuple[str, ...] = (SqliteStore.kind, PostgresStore.kind)


def whole_job(bench: Bench) -> list[Line]:
    """From rows that are due to letters filled in, accepted and recorded, over ten connections, in one process."""
    sizes = bench.sizes
    others = [
        Against(
            name="nodemailer",
            words="nodemailer’s pool",
            make=lambda: peers.nodemailer(fetch=bench.fetch),
            count=sizes.nodemailer,
            goal=5.0,
        ),
        Against(
            name="django-post_office",
            words="django-post_office",
            make=lambda: peers.post_office(fetch=bench.fetch),
            count=sizes.post_office,
            goal=10.0,
        ),
        Against(
            name="smtp-source",
            words="`smtp-source -d`, which fills in and records nothing",
            make=peers.smtp_source,
            count=sizes.smtp_source,
            goal=0.5,
            kinds=(SqliteStore.kind,),
        ),
    ]
    with programs.sink() as sink:
        return _beside(bench, "whole job", sink.port, sizes.ours, others)


def far_network(bench: Bench) -> list[Line]:
    """The same where a round trip takes 20 ms."""
    sizes = bench.sizes
    others = [
        Against(name="smtplib", words="smtplib", make=peers.smtplib_threads, count=sizes.far_others, goal=3.8),
        Against(
            name="nodemailer",
            words="nodemailer’s pool",
            make=lambda: peers.nodemailer(fetch=bench.fetch),
            count=sizes.far_others,
            goal=1.9,
        ),
    ]
    with programs.sink() as sink:
        try:
            far = programs.far(sink.port, round_trip_ms=20)
        except programs.Missing as error:
            return [missing_line("20 ms round trip", "≥ 3.8 × and ≥ 1.9 ×", error)]
        with far:
            return _beside(bench, "20 ms round trip", far.port, sizes.far, others)


def _beside(bench: Bench, what: str, port: int, count: int, others: list[Against]) -> list[Line]:
    """All in turns: ours on each database, and each of the others that can be had here."""
    sides, missing = {}, {}
    for store in bench.stores:
        ground = store.lay("letters", port=port, people=count, letters=count)
        sides[store.kind] = ours(bench, store, "letters", ground, count)
    for other in others:
        try:
            sides[other.name] = _peer(other, port)
        except programs.Missing as error:
            missing[other.name] = error
    turns = in_turns(sides, bench.sizes.turns, bench.say)
    lines = []
    for other in others:
        for kind in (store.kind for store in bench.stores if store.kind in other.kinds):
            words = f"{what}, {CONNECTIONS} connections, {kind}, beside {other.words}"
            if other.name in missing:
                lines.append(missing_line(words, f"≥ {other.goal:g} ×", missing[other.name]))
            else:
                lines.append(ratio_line(words, turns[kind], turns[other.name], goal=other.goal, samples=other.name))
    return lines


def _peer(other: Against, port: int) -> Callable[[], Turn]:
    send = other.make()
    return lambda: send(port, other.count, CONNECTIONS)


def longer_campaign(bench: Bench) -> list[Line]:
    """What a letter costs in a campaign ten times as long. Turns are long, too, so they are fewer."""
    turns = min(bench.sizes.turns, 3)
    return [_scale(bench, store, bench.sizes.small_campaign, bench.sizes.campaign, turns) for store in bench.stores]


def longest_campaign(bench: Bench) -> list[Line]:
    """The same once more; it takes minutes, so the turns are fewer."""
    turns = min(bench.sizes.turns, 3)
    return [_scale(bench, bench.stores[0], bench.sizes.campaign, bench.sizes.large_campaign, turns)]


def _scale(bench: Bench, store: Store, small: int, large: int, turns: int) -> Line:
    with programs.sink() as sink:
        sides = {}
        for count in (small, large):
            ground = store.lay(f"scale_{count}", port=sink.port, people=count, letters=count)
            sides[f"{count:,}"] = ours(bench, store, f"scale_{count}", ground, count)
        found = in_turns(sides, turns, bench.say)
    cost = {name: [turn.seconds / turn.sent * 1e6 for turn in each] for name, each in found.items()}
    few, many = cost.values()
    ratio = statistics.median(many) / statistics.median(few)
    return Line(
        what=f"cost of a letter at {large:,} against {small:,}, {store.kind}",
        goal=f"≤ {_SCALE:g} ×",
        figure=f"{ratio:.2f} ×",
        reached=ratio <= _SCALE,
        detail=f"{spread(many)} µs against {spread(few)} µs",
        samples=cost,
    )


def memory(bench: Bench, count: int) -> list[Line]:
    """The most memory that a real worker process takes for a whole campaign."""
    lines = []
    for store in bench.stores:
        with programs.sink() as sink:
            ground = store.fresh("memory", store.lay("memory", port=sink.port, people=count, letters=count))
            with worker(ground) as pid, opened(ground.environ):
                queue.ring_delivery()
                began = time.monotonic()
                wait_for(_all_sent, 3600, what=f"{count:,} letters on their way")
                bench.say(f"a worker sent {count:,} letters in {time.monotonic() - began:.0f} s")
                peak = peak_kib(pid) * 1024 / 1e6
        lines.append(
            Line(
                what=f"memory of a worker over a campaign of {count:,}, {store.kind}",
                goal=f"≤ {_MEMORY} MB",
                figure=f"{peak:.0f} MB",
                reached=peak <= _MEMORY,
                detail="VmHWM of `ownpost worker --queue delivery`, once everything was sent",
                samples={"MB": [round(peak, 1)]},
            )
        )
    return lines


@contextmanager
def worker(ground: Ground, name: str = "delivery") -> Iterator[int]:
    """A real worker process; yields its process id."""
    command = [sys.executable, "-m", "panel.cli", "worker", "--queue", name]
    with (Path(ground.environ["OWNPOST_DATA_DIR"]) / f"worker-{name}.log").open("wb") as log:
        process = subprocess.Popen(
            command, env=programs.clean(ground.environ), stdout=log, stderr=log, preexec_fn=die_with_parent
        )
    try:
        yield process.pid
    finally:
        if process.poll() is None:
            os.kill(process.pid, signal.SIGTERM)
        process.wait(30)


def _all_sent() -> bool:
    time.sleep(0.5)
    with db.system_scope("a benchmark looks for what is due") as session:
        # One after the other, as each has an index of its own: a look must not cost the worker anything.
        looks = (Delivery.state.in_(states.DUE), Delivery.lease_until.is_not(None))
        return all(session.scalar(select(Delivery.id).where(look).limit(1)) is None for look in looks)
