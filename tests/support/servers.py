"""Fixtures for the servers a test may need. Each is started at its first use, once for each test process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from panel.embedded import find_redis_server

from .needs import missing
from .postgres import SharedCluster, fresh_database, postgres_bin
from .redisserver import RedisServer


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """A Redis of this test process's own, which a test may stop and start again."""
    binary = find_redis_server()
    if binary is None:
        missing("redis-server", install="apt-get install redis-server")
    server = RedisServer(binary)
    server.start()
    yield server
    server.remove()


@pytest.fixture(scope="session")
def redis_url(redis_server: RedisServer) -> str:
    """REDIS_URL of this test process's Redis. Take `redis_client` too, to begin with an empty one."""
    return redis_server.url


@pytest.fixture
def redis_client(redis_url: str) -> Iterator[redis.Redis]:
    """An empty Redis, and a connection to it."""
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
        yield client


@pytest.fixture(scope="session")
def postgres_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedCluster]:
    """The run's one PostgreSQL, which all its test processes share."""
    binaries = postgres_bin()
    if binaries is None:
        missing("PostgreSQL", install="apt-get install postgresql")
    cluster = SharedCluster(_seen_by_all_processes(tmp_path_factory), binaries)
    yield cluster
    cluster.release()


@pytest.fixture(scope="session")
def postgres_url(postgres_cluster: SharedCluster) -> str:
    """DATABASE_URL of a database that only this test process uses, empty at first."""
    name = "test_" + os.environ.get("PYTEST_XDIST_WORKER", "main")
    return fresh_database(postgres_cluster.socket_directory, name)


def _seen_by_all_processes(factory: pytest.TempPathFactory) -> Path:
    base = factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
