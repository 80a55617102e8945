"""The database restarted, crashed, locked, and without room, while letters go out."""

from __future__ import annotations

import resource
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import select

from panel import db
from panel.outbox.models import Delivery
from tests.faults.conftest import Build
from tests.faults.driver import LONG, Rig
from tests.faults.reconcile import reconcile
from tests.faults.sink import Passing, Sink
from tests.support.needs import need_program
from tests.support.postgres import Cluster
from tests.support.wait import wait_for

pytestmark = pytest.mark.timeout(600)

AWAY = 10.0 if LONG else 1.5
LOCKED = 20.0 if LONG else 3.0
"""Seconds. The long one is longer than a connection waits for SQLite's lock (15 s)."""

sqlite_only = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
postgresql_only = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


class _Once:
    """Does something the first time that a letter's reply has been written, after a number of letters."""

    def __init__(self, after: int, deed: Callable[[], object]) -> None:
        self._after, self._deed = after, deed
        self._lock = threading.Lock()
        self.done = threading.Event()
        self.recipient = ""
        self.at = 0.0

    def play(self, passing: Passing) -> str | None:
        with self._lock:
            if passing.point == "replied" and passing.count >= self._after and not self.done.is_set():
                self.at = time.time()
                self._deed()
                self.recipient = passing.recipient
                self.done.set()
        return None


def _wait_until_recorded(rig: Rig, recipient: str) -> None:
    """It may be `uncertain` until its worker looks for the database again."""
    try:
        wait_for(lambda: rig.states_by_recipient()[recipient] == "sent", 10, what="the late record")
    except TimeoutError as error:
        raise AssertionError(rig.story(recipient)) from error


@postgresql_only
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT], ids=["restarted", "crashed"])
def test_the_database_ends_after_a_250_and_comes_back(build: Build, cluster: Cluster, how: signal.Signals) -> None:
    with Sink(pause=0.01) as sink:
        rig = build(sink)
        rig.queue()
        db.engine().dispose()
        stop = _Once(40, lambda: cluster.stop(how))
        sink.play = stop.play
        rig.crew()
        assert stop.done.wait(30)
        rig.go_on(AWAY)
        cluster.start()
        # A commit that was cut off may have been made or not: whoever asked for one lets no body flow, and then the
        # row may say `sending` of a letter that never left. That is at most one for each connection.
        rig.note("database away", since=stop.at)
        rig.wait_until_settled(90)
        # Whoever lives knows the 250 it has heard, and has a minute to write it down.
        _wait_until_recorded(rig, stop.recipient)
        what = "PostgreSQL restarted" if how is signal.SIGINT else "PostgreSQL crashed"
        reconcile(rig, what=f"{what} after a 250, away for {AWAY:g} s", restarts=rig.restarts)


@contextmanager
def _locked(rig: Rig) -> Iterator[None]:
    """Nobody else can write meanwhile."""
    path = rig.sqlite_path()
    if path is not None:
        with closing(sqlite3.connect(path, timeout=30, isolation_level=None)) as connection:
            connection.execute("BEGIN EXCLUSIVE")
            yield
            connection.execute("ROLLBACK")
        return
    with psycopg.connect(rig.post.world.settings.database_url.replace("+psycopg", "")) as connection:
        connection.execute("LOCK TABLE deliveries IN ACCESS EXCLUSIVE MODE")
        yield
        connection.rollback()


def test_the_database_locked_for_longer_than_a_lease(build: Build) -> None:
    with Sink(pause=0.01) as sink:
        rig = build(sink)
        rig.queue()
        rig.crew()
        rig.wait_for_accepted(40)
        with _locked(rig):
            rig.go_on(LOCKED)
        rig.wait_until_settled(90)
        reconcile(rig, what=f"database locked for {LOCKED:g} s", uncertain_at_most=0, restarts=rig.restarts)


@contextmanager
def _no_room(pids: list[int], size: int) -> Iterator[None]:
    """None of these processes can write beyond this place of a file, as on a full disk."""
    before = {pid: resource.prlimit(pid, resource.RLIMIT_FSIZE) for pid in pids}
    for pid, (_, hard) in before.items():
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        for pid, limits in before.items():
            with suppress(ProcessLookupError):
                resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)


@sqlite_only
def test_the_disk_full_for_a_while_under_sqlite(build: Build) -> None:
    with Sink(pause=0.01) as sink:
        rig = build(sink)
        rig.queue()
        rig.crew()
        rig.wait_for_accepted(40)
        # What it appends to next is the write-ahead log.
        log = Path(f"{rig.sqlite_path()}-wal")
        full = time.time()
        with _no_room([one.pid for one in rig.processes], log.stat().st_size):
            rig.go_on(AWAY)
        rig.note("disk full", since=full)
        rig.wait_until_settled(90)
        reconcile(rig, what=f"disk full for {AWAY:g} s", restarts=rig.restarts)


@postgresql_only
def test_the_disk_full_for_a_while_under_postgresql(build: Build, cluster: Cluster) -> None:
    need_program("prlimit", install="apt-get install util-linux")
    with Sink(pause=0.01) as sink:
        rig = build(sink)
        rig.queue()
        rig.crew()
        rig.wait_for_accepted(40)
        full = time.time()
        cluster.limit_files(65_536)
        db.engine().dispose()
        rig.go_on(AWAY)
        # It ends when it has no room for its write-ahead log, and is started again when there is some.
        cluster.stop(signal.SIGQUIT)
        assert "File too large" in (cluster.directory / "log").read_text()
        cluster.start()
        rig.note("disk full", since=full)
        rig.wait_until_settled(90)
        reconcile(rig, what=f"disk full for {AWAY:g} s", restarts=rig.restarts)


@postgresql_only
def test_a_row_locked_by_somebody_frozen_keeps_the_ticker_from_nothing_else(build: Build, cluster: Cluster) -> None:
    with Sink() as sink:
        rig = build(sink)
        rig.queue(20)
        for number in (3, 4):
            rig.change(
                f"p{number}@friends.test", state="sending", lease_owner="ghost", lease_until=db.clock(-60), fence=1
            )
        with db.system_scope("tests") as session:
            [row] = session.scalars(select(Delivery.id).where(Delivery.to_address == "p3@friends.test"))
        url = rig.post.world.settings.database_url.replace("+psycopg", "")
        with psycopg.connect(url) as frozen:
            frozen.execute("SELECT 1 FROM deliveries WHERE id = %s FOR UPDATE", [row])
            rig.crew(2)
            wait_for(lambda: rig.states()["sent"] == 18, 20, what="all other letters")
            wait_for(lambda: rig.states_by_recipient()["p4@friends.test"] == "uncertain", 10, what="the ticker")
            assert rig.states_by_recipient()["p3@friends.test"] == "sending"
            frozen.rollback()
        rig.wait_until_settled(20)
        assert rig.states() == {"sent": 18, "uncertain": 2}
