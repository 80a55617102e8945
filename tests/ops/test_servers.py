"""The servers that tests run against are real ones."""

from __future__ import annotations

import psycopg
import pytest
import redis

from tests.support.redisserver import RedisServer


def test_it_gives_an_empty_redis_on_a_unix_socket(redis_client: redis.Redis, redis_url: str):
    assert redis_url.startswith("unix:///")
    assert redis_client.dbsize() == 0
    redis_client.set("left", "behind")


def test_it_empties_redis_for_the_next_test(redis_client: redis.Redis):
    assert redis_client.get("left") is None


def test_it_keeps_what_redis_holds_over_a_restart(redis_server: RedisServer, redis_client: redis.Redis):
    redis_client.config_set("appendfsync", "always")
    redis_client.set("kept", "yes")
    redis_server.stop()
    with pytest.raises(redis.ConnectionError):
        redis_client.get("kept")
    redis_server.start()
    assert redis_client.get("kept") == b"yes"


def test_it_gives_a_postgresql_database_of_its_own(postgres_url: str):
    dsn = postgres_url.replace("+psycopg", "")
    with psycopg.connect(dsn) as connection:
        name, version = connection.execute("SELECT current_database(), version()").fetchone()
    assert name.startswith("test_")
    assert version.startswith("PostgreSQL")
