"""A process that stands still in the middle of a transaction on PostgreSQL: whom it keeps waiting, what it finds."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import psycopg
import pytest
from sqlalchemy import text, update
from sqlalchemy.exc import OperationalError

from panel import db
from panel.batch import Writer
from panel.outbox.service import Delivery
from tests.deliveries.conftest import Post
from tests.support.wait import wait_for

pytestmark = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)

_CHANGE = "UPDATE deliveries SET reason = %s WHERE id = %s"
LEASE = 0.2


@pytest.fixture
def other(post: Post) -> Iterator[psycopg.Connection]:
    """Somebody else's connection."""
    post.world.reconfigure(OWNPOST_LEASE_SECONDS=str(LEASE))
    url = post.world.settings.database_url
    with psycopg.connect(url.replace("postgresql+psycopg://", "postgresql://")) as connection:
        connection.execute("SET lock_timeout = '20s'")
        yield connection


def test_its_rows_are_free_again_and_it_finds_the_database_away(post: Post, other: psycopg.Connection) -> None:
    welcome = post.welcome()

    def freeze() -> None:
        with db.system_scope("tests") as session, db.transaction():
            session.execute(update(Delivery).where(Delivery.id == welcome).values(reason="never kept"))
            _tick_until_free(post, other, welcome)
            session.execute(text("SELECT 1"))

    with pytest.raises(OperationalError):
        freeze()
    assert post.get(welcome).reason == "somebody else"


def test_a_batch_finds_the_database_away_and_the_next_one_is_written(post: Post, other: psycopg.Connection) -> None:
    welcome = post.welcome()
    writer = Writer()

    def commit_late() -> None:
        with writer.transaction() as batch:
            with batch._connection.driver_connection.pipeline():
                batch._connection.cursor().execute(_CHANGE, ("never kept", welcome))
            # It is about to commit; what came last was the end of a pipeline.
            _tick_until_free(post, other, welcome)

    with pytest.raises(OperationalError):
        commit_late()
    assert post.get(welcome).reason == "somebody else"
    with writer.transaction() as batch:
        batch._connection.cursor().execute(_CHANGE, ("kept", welcome))
    writer.close()
    assert post.get(welcome).reason == "kept"


def test_nobody_elses_session_is_broken_off(post: Post, other: psycopg.Connection) -> None:
    welcome = post.welcome()
    other.execute(_CHANGE, ("somebody else", welcome))

    def stands_still() -> bool:
        with db.engine().connect() as connection:
            still = "SELECT state_change < clock_timestamp() - make_interval(secs => :most) FROM pg_stat_activity"
            found = connection.scalar(text(f"{still} WHERE pid = :pid"), {"most": LEASE, "pid": other.info.backend_pid})
        return bool(found)

    wait_for(stands_still, what="a transaction that stands still")
    post.world.tick()
    other.commit()
    assert post.get(welcome).reason == "somebody else"


def _tick_until_free(post: Post, other: psycopg.Connection, delivery_id: int) -> None:
    """The ticker goes on, and somebody else waits for the row; nothing is said for us meanwhile."""
    over = threading.Event()

    def tick() -> None:
        while not over.wait(0.05):
            post.world.tick()

    ticker = threading.Thread(target=tick)
    ticker.start()
    try:
        other.execute(_CHANGE, ("somebody else", delivery_id))
        other.commit()
    finally:
        over.set()
        ticker.join(20)
