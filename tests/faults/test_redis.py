"""Redis is only the doorbell: emptied, gone or full it costs time, never a letter."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
import redis

from tests.faults.conftest import Build
from tests.faults.driver import LETTERS, LONG, SEEDS
from tests.faults.reconcile import reconcile
from tests.faults.sink import Sink
from tests.support.redisserver import RedisServer

pytestmark = pytest.mark.timeout(600)

AWAY = 30.0 if LONG else 2.5
"""Seconds for which it is gone or full: several ticks, and longer than a lease."""

BACK = 90.0
"""Seconds within which all is sent once it is back. RQ's pauses between tries to reach it grow to a minute."""


@pytest.fixture
def doorbell(redis_server: RedisServer, redis_client: redis.Redis) -> Iterator[RedisServer]:
    """Redis, which works again afterwards whatever came of the test."""
    yield redis_server
    if not redis_server.running:
        redis_server.start()
    redis_client.config_set("maxmemory", "0")


@pytest.mark.parametrize("seed", SEEDS)
def test_redis_emptied_while_letters_go_out(build: Build, seed: int) -> None:
    chance = random.Random(seed)
    with Sink(pause=0.004) as sink:
        rig = build(sink)
        rig.queue()
        rig.redis.flushall()  # nobody has heard the bell yet: the ticker rings it again
        rig.crew()
        for count in sorted(chance.sample(range(1, LETTERS - 20), 5)):
            rig.wait_for_accepted(count)
            rig.redis.flushall()
        rig.wait_until_settled()
        reconcile(rig, what="Redis flushed six times", uncertain_at_most=0, seed=seed)


def test_redis_gone_for_a_while(build: Build, doorbell: RedisServer) -> None:
    with Sink(pause=0.02) as sink:
        rig = build(sink)
        rig.queue(LETTERS - 20)
        rig.crew()
        rig.wait_for_accepted(30)
        doorbell.stop()
        rig.queue(20, prefix="late")  # an event is taken even while nobody can be rung
        rig.go_on(AWAY)
        doorbell.start()
        rig.wait_until_settled(BACK)
        reconcile(rig, what=f"Redis down for {AWAY:g} s", uncertain_at_most=0, restarts=rig.restarts)


def test_redis_out_of_memory_for_a_while(build: Build, doorbell: RedisServer) -> None:
    with Sink(pause=0.02) as sink:
        rig = build(sink)
        rig.queue(LETTERS - 20)
        rig.crew()
        rig.wait_for_accepted(30)
        rig.redis.config_set("maxmemory", "1")  # every write is refused from now on
        with pytest.raises(redis.ResponseError):
            rig.redis.set("full", "yes")
        rig.queue(20, prefix="late")
        rig.go_on(AWAY)
        rig.redis.config_set("maxmemory", "0")
        rig.wait_until_settled(BACK)
        reconcile(rig, what=f"Redis out of memory for {AWAY:g} s", uncertain_at_most=0, restarts=rig.restarts)
