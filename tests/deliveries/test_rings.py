"""What rings for the delivery workers, and who hears it."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator

import pytest
import redis

from panel import queue
from panel.deliveries.drain import Drain
from tests.deliveries.conftest import Post
from tests.support.redisserver import RedisServer
from tests.support.wait import wait_for


@pytest.fixture
def rung(redis_client: redis.Redis, redis_url: str) -> Iterator[threading.Event]:
    """Set when an ear hears something; there is one as long as the test lasts."""
    queue.configure(redis_url)
    event = threading.Event()
    ear = queue.Ear(event.set)
    ear.start()
    wait_for(lambda: redis_client.publish("ownpost:delivery", "") and event.wait(0.2), what="the ear to listen")
    event.clear()
    yield event
    ear.end()
    ear.join(10)
    assert not ear.is_alive()


def test_every_ring_is_heard_and_one_job_waits(rung: threading.Event) -> None:
    for _ in range(3):
        assert queue.ring_delivery()
        assert rung.wait(5)
        rung.clear()
    assert queue.queue(queue.DELIVERY).count == 1


def test_who_may_not_publish_rings_by_jobs(redis_client: redis.Redis, redis_url: str) -> None:
    redis_client.acl_setuser("mute", enabled=True, nopass=True, commands=["+@all"], keys=["*"], reset_channels=True)
    scheme, _, rest = redis_url.partition("://")
    try:
        queue.configure(f"{scheme}://mute:any@{rest}")
        with pytest.raises(redis.exceptions.NoPermissionError):
            queue.connection().publish("ownpost:delivery", "")
        assert queue.ring_delivery()
        assert redis_client.llen("rq:queue:delivery") == 1
    finally:
        queue.configure(redis_url)
        redis_client.acl_deluser("mute")


def test_it_hears_again_once_redis_is_back(rung: threading.Event, redis_server: RedisServer) -> None:
    redis_server.stop()
    assert not queue.ring_delivery()
    redis_server.start()
    wait_for(lambda: queue.ring_delivery() and rung.wait(0.2), 20, what="it to hear")


def test_an_ear_ends_with_its_worker(post: Post) -> None:
    drain = Drain(post.world.app, post.world.settings)
    with post.world.app.app_context():
        drain.run()
    ear = drain._ear
    assert ear is not None
    assert ear.is_alive()
    del drain
    gc.collect()
    ear.join(10)
    assert not ear.is_alive()
