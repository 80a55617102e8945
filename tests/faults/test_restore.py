"""A backup that is restored while nothing runs, or under a new start: nobody gets a letter twice by it."""

from __future__ import annotations

import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from panel import db
from tests.faults.conftest import Build
from tests.faults.driver import LONG_LEASE, Rig
from tests.faults.sink import Sink
from tests.support.postgres import SUPERUSER, Cluster
from tests.support.wait import wait_for

pytestmark = pytest.mark.timeout(600)

LETTERS = 20


def command(rig: Rig, *arguments: str) -> subprocess.CompletedProcess[str]:
    """An `ownpost` command, as the operator types it."""
    environ = {"PATH": "/usr/bin:/bin", **rig.post.world.environ}
    run = [sys.executable, "-m", "panel.cli", *arguments]
    return subprocess.run(run, env=environ, capture_output=True, text=True, timeout=60)


def stop_all(rig: Rig) -> None:
    for process in rig.processes:
        process.signal(signal.SIGTERM)
    for process in rig.processes:
        process.wait(20)
    rig.processes.clear()


@pytest.fixture
def keep(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Rig], Callable[[], None]]:
    """Makes a backup as docs/deploy.md says, and returns what restores it."""

    def sqlite(rig: Rig) -> Callable[[], None]:
        path, copy = rig.sqlite_path(), tmp_path / "backup.sqlite3"
        assert path is not None
        # Not by `ownpost db backup`, whose copies say themselves what they are.
        with closing(sqlite3.connect(path, isolation_level=None)) as source:
            source.execute("VACUUM INTO ?", (str(copy),))

        def restore() -> None:
            db.engine().dispose()
            for suffix in ("", "-wal", "-shm"):
                path.with_name(path.name + suffix).unlink(missing_ok=True)
            shutil.copy(copy, path)

        return restore

    def postgresql(rig: Rig) -> Callable[[], None]:
        cluster: Cluster = request.getfixturevalue("cluster")

        def run(*statements: str) -> None:
            host = str(cluster.directory)
            with psycopg.connect(host=host, user=SUPERUSER, dbname="postgres", autocommit=True) as connection:
                for statement in statements:
                    connection.execute(statement)

        def copy(source: str, target: str) -> None:
            db.engine().dispose()
            names = f"'{source}', '{target}'"
            alone = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname IN ({names})"
            gone, made = f'DROP DATABASE IF EXISTS "{target}" WITH (FORCE)', f'CREATE DATABASE "{target}"'
            run(alone, gone, alone, f'{made} TEMPLATE "{source}"')

        copy("faults", "faults_backup")
        return lambda: copy("faults_backup", "faults")

    return lambda rig: sqlite(rig) if rig.sqlite_path() is not None else postgresql(rig)


def send_after_a_backup(rig: Rig, keep: Callable[[Rig], Callable[[], None]]) -> None:
    """Letters are queued, a backup is made, they are sent, everything stops, the backup is restored."""
    rig.queue(1, prefix="early")
    rig.crew(2)
    rig.wait_until_settled()
    marked = rig.post.world.settings.data_dir / "mark.json"
    wait_for(marked.exists, 20, what="the mark")
    stop_all(rig)
    rig.queue(LETTERS)
    restore = keep(rig)
    as_of = marked.read_text()
    rig.crew(2)
    rig.wait_for_accepted(LETTERS + 1)
    rig.wait_until_settled()
    # What is sent before the ticker's next round is known to nobody outside.
    wait_for(lambda: marked.read_text() != as_of, 20, what="the ticker's next round")
    stop_all(rig)
    restore()
    assert rig.states()["queued"] == LETTERS


def wait_for_the_stop(rig: Rig) -> None:
    def stopped() -> bool:
        with db.system_scope("tests"):
            from panel import mark

            return mark.stop() is not None

    wait_for(stopped, 20, what="the ticker to notice")


def test_a_restored_database_sends_nothing_until_a_person_says_so(
    build: Build, keep: Callable[[Rig], Callable[[], None]]
) -> None:
    with Sink() as sink:
        rig = build(sink, lease=LONG_LEASE)
        send_after_a_backup(rig, keep)
        # Workers first: they do not need the ticker to see it.
        rig.worker()
        rig.worker()
        rig.go_on(1.0)
        assert len(sink.accepted) == LETTERS + 1
        rig.start("ticker")
        wait_for_the_stop(rig)
        rig.queue(2, prefix="new")
        rig.go_on(1.5)
        assert len(sink.accepted) == LETTERS + 1
        asked = command(rig, "db", "restored")
        assert asked.returncode == 1
        assert f"{LETTERS} letters waited in it then." in asked.stdout
        assert "older than it was" in command(rig, "doctor").stdout
        done = command(rig, "db", "restored", "--cancel-due")
        assert (done.returncode, done.stderr) == (0, "")
        rig.wait_for_accepted(LETTERS + 3)
        rig.wait_until_settled()
        assert {one.recipient for one in sink.accepted if one.recipient.startswith("new")} == {
            "new0@friends.test",
            "new1@friends.test",
        }
        recipients = [one.recipient for one in sink.accepted]
        assert len(set(recipients)) == len(recipients)
        assert rig.states() == {"sent": 3}


def test_redis_restored_or_lost_with_it_makes_no_difference(
    build: Build, keep: Callable[[Rig], Callable[[], None]]
) -> None:
    with Sink() as sink:
        rig = build(sink, lease=LONG_LEASE)
        send_after_a_backup(rig, keep)
        rig.redis.flushdb()
        rig.crew(2)
        wait_for_the_stop(rig)
        rig.go_on(1.0)
        assert len(sink.accepted) == LETTERS + 1
        done = command(rig, "db", "restored", "--release")
        assert done.stdout == "Sending goes on.\n"
        # A person said that none had been sent.
        rig.wait_for_accepted(2 * LETTERS + 1)


def test_a_copy_on_a_new_machine_sends_nothing(build: Build, keep: Callable[[Rig], Callable[[], None]]) -> None:
    with Sink() as sink:
        rig = build(sink, lease=LONG_LEASE)
        send_after_a_backup(rig, keep)
        rig.redis.flushdb()
        (rig.post.world.settings.data_dir / "mark.json").unlink()
        rig.crew(2)
        wait_for_the_stop(rig)
        rig.go_on(1.0)
        assert len(sink.accepted) == LETTERS + 1
        assert "nothing here knows this database" in command(rig, "db", "restored").stdout


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_backup_by_its_command_says_itself_what_it_is(build: Build) -> None:
    with Sink() as sink:
        rig = build(sink, lease=LONG_LEASE)
        rig.queue(LETTERS)
        backup = rig.folder / "made.sqlite3"
        done = command(rig, "db", "backup", str(backup))
        assert (done.returncode, done.stderr) == (0, "")
        assert backup.stat().st_mode & 0o777 == 0o600
        assert command(rig, "db", "backup", str(backup)).returncode == 1
        # Restored on the same machine before any ticker ran, with no mark anywhere: the copy alone says it.
        path = rig.sqlite_path()
        assert path is not None
        db.engine().dispose()
        for suffix in ("-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        shutil.copy(backup, path)
        rig.crew(2)
        rig.go_on(1.5)
        assert sink.accepted == []
        assert f"{LETTERS} letters waited in it then." in command(rig, "db", "restored").stdout
        command(rig, "db", "restored", "--release")
        rig.wait_for_accepted(LETTERS)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_person_may_stop_it_who_knows_more(build: Build) -> None:
    with Sink() as sink:
        rig = build(sink, lease=LONG_LEASE)
        rig.queue(2)
        stopped = command(rig, "db", "restored", "--stop")
        assert stopped.returncode == 0
        assert stopped.stdout.startswith("Nothing is sent: you asked for it.\n")
        rig.crew(1)
        rig.go_on(1.0)
        assert sink.accepted == []
        assert command(rig, "db", "restored", "--release", "--stop").returncode == 1
        command(rig, "db", "restored", "--release")
        rig.wait_for_accepted(2)
        assert command(rig, "db", "restored").stdout == "Sending is not stopped.\n"
