"""`ownpost account export` and `ownpost account delete`, with everything else running."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
import redis
from sqlalchemy import func, select

from panel import db
from panel.outbox.models import Delivery
from tests.data.content import rows_of
from tests.deliveries.conftest import Post, platform, post
from tests.faults.conftest import Build, build, cluster, migrated_postgres, zygote
from tests.faults.driver import LONG_LEASE
from tests.faults.sink import Sink
from tests.ops.test_cli import Shell, shell

__all__ = ["build", "cluster", "migrated_postgres", "platform", "post", "shell", "zygote"]

LETTERS = 200


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_it_writes_everything_of_an_account_into_a_file_of_the_operators_own(post: Post, shell: Shell, tmp_path: Path):
    post.join()
    file = tmp_path / "acme.zip"
    done = shell.run("account", "export", "Acme", "--to", str(file))
    assert (done.returncode, done.stderr) == (0, "")
    assert file.stat().st_mode & 0o777 == 0o600
    with zipfile.ZipFile(file) as archive:
        assert b"robin@friends.test" in archive.read("participants.jsonl")
        assert b'"actor": "operator (' in archive.read("audit_log.jsonl")
    assert "is there already" in shell.run("account", "export", "Acme", "--to", str(file)).stderr
    assert "There is no account 'Nobody'" in shell.run("account", "export", "Nobody", "--to", "x.zip").stderr


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_it_leaves_no_half_of_an_export(post: Post, shell: Shell, tmp_path: Path):
    """The database breaks on the way, after some tables were written."""
    with db.engine().connect() as connection:
        connection.exec_driver_sql("DROP TABLE suppressions")
        connection.commit()
    folder = tmp_path / "exports"
    folder.mkdir()
    done = shell.run("account", "export", "Acme", "--to", str(folder / "acme.zip"))
    assert done.returncode != 0
    assert "suppressions" in done.stderr
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_deletion_that_cannot_end_says_so_and_ends(post: Post, shell: Shell):
    with db.engine().connect() as connection:
        connection.exec_driver_sql("CREATE TABLE in_the_way (campaign_id CHAR(32) REFERENCES campaigns (id))")
        connection.exec_driver_sql("INSERT INTO in_the_way SELECT id FROM campaigns")
        connection.commit()
    done = shell.run("account", "delete", "Acme", "--yes")
    assert (done.returncode, done.stdout) == (1, "")
    assert "Acme is closed, but not all of it could be deleted" in done.stderr
    assert "Traceback" not in done.stderr


def test_nothing_is_sent_any_more_and_nothing_is_left(build: Build, shell: Shell, redis_client: redis.Redis):
    with Sink() as sink:
        rig = build(sink, lease=LONG_LEASE)
        world = rig.post.world
        rig.queue(LETTERS)
        other = rows_of(world.other.id)
        rig.crew(2)
        rig.wait_for_accepted(20)
        asked = shell.run("account", "delete", "Acme")
        assert (asked.returncode, "add --yes" in asked.stderr) == (1, True)
        done = shell.run("account", "delete", "Acme", "--yes")
        assert (done.returncode, done.stdout) == (0, "Acme is deleted.\n"), done.stderr
        accepted = len(sink.accepted)
        assert {name: count for name, count in rows_of(world.acme.id).items() if count} == {}
        assert rows_of(world.other.id) == other
        rig.go_on(1.5)
        assert len(sink.accepted) == accepted
        with db.system_scope("tests") as session:
            assert session.scalar(select(func.count()).select_from(Delivery)) == 0
        assert all(process.running for process in rig.processes)
        keys = [key.decode() for key in redis_client.keys("*")]
        assert [key for key in keys if str(world.acme.id) in key] == []
