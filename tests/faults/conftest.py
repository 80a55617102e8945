"""A durable PostgreSQL, a process that forks workers, and the rig that the fault tests drive."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from panel import db
from panel.migrations import runner
from tests.deliveries.conftest import Post, platform, post
from tests.faults.driver import LEASE, LONG, Rig
from tests.faults.sink import Sink
from tests.faults.zygote import Zygote
from tests.support.needs import missing
from tests.support.postgres import DURABLE, Cluster, fresh_database, postgres_bin

__all__ = ["platform", "post"]

FOLDER = Path(__file__).parent
Build = Callable[..., Rig]

ABOUT_THE_DATABASE = ("test_clock", "test_database", "test_kills", "test_random", "test_restore", "test_signals")
"""Where the two databases have ways of their own. What mail servers, Redis and jobs do is tried on one of them, test by
test in turn, unless it is the long run."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out of the short run what the long one has besides."""
    if LONG:
        return
    left_out: list[pytest.Item] = []
    turn: dict[str, int] = {}
    for item in items:
        module = item.path.stem
        if item.path.parent != FOLDER or module in ABOUT_THE_DATABASE or not isinstance(item, pytest.Function):
            continue
        number = turn.setdefault(item.nodeid.partition("[")[0], len(turn))
        if item.callspec.params.get("database_url") != ("sqlite", "postgresql")[number % 2]:
            left_out.append(item)
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A PostgreSQL of this test process's own, to be crashed: what it has committed survives that."""
    binaries = postgres_bin()
    if binaries is None:
        missing("PostgreSQL", install="apt-get install postgresql")
    made = Cluster(binaries, options=DURABLE)
    made.start()
    yield made
    made.remove()


@pytest.fixture(scope="session")
def migrated_postgres(cluster: Cluster) -> str:
    """A database on it with every table."""
    url = fresh_database(cluster.directory, "faults")
    db.connect(url)
    runner.upgrade()
    db.engine().dispose()
    return url


@pytest.fixture(scope="session")
def zygote() -> Iterator[Zygote]:
    made = Zygote()
    yield made
    made.close()


@pytest.fixture(autouse=True)
def looker_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """The ticker takes a transaction of an Ownpost process that stands still for a lease to be frozen, and leases are
    short here: on a busy machine, that of a test which reads what became of its letters."""
    monkeypatch.setattr(db, "_NAME", "a test of Ownpost")


@pytest.fixture
def build(post: Post, zygote: Zygote, redis_client: redis.Redis, tmp_path: Path) -> Iterator[Build]:
    """Makes the rig: Acme's own server is this sink."""
    made: list[Rig] = []

    def rig(sink: Sink, *, lease: float = LEASE) -> Rig:
        if sink.password is None:
            post.use(sink.port)
        made.append(Rig(post, sink, zygote, redis_client, tmp_path, lease))
        return made[-1]

    yield rig
    for one in made:
        one.close()
