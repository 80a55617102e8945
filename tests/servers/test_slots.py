"""Connections to one server are counted over all workers."""

from __future__ import annotations

import dataclasses
import threading
import uuid

from panel import db, queue
from panel.servers import service as servers
from panel.servers import slots
from tests.deliveries.conftest import Post, platform, post
from tests.support.mailserver import MailServer

__all__ = ["platform", "post"]


def _route(connections: int) -> servers.Route:
    """An own server that takes so many connections."""
    platform_route = servers.platform_route()
    limits = dataclasses.replace(platform_route.limits, connections=connections)
    return dataclasses.replace(platform_route, kind="own", server_id=uuid.uuid4(), server_version=1, limits=limits)


def test_no_more_are_open_than_the_server_takes(post: Post) -> None:
    with post.world.acme_scope():
        route = _route(3)
    assert [servers.take_slot(route, f"connection {number}") for number in range(4)] == [True, True, True, False]
    assert route.server_id is not None
    servers.free_slot(route.server_id, "connection 1")
    assert servers.take_slot(route, "connection 4")
    assert not servers.take_slot(route, "connection 5")


def test_one_that_is_renewed_stays_taken_and_one_that_is_not_lapses(post: Post) -> None:
    with post.world.acme_scope():
        route = _route(2)
    assert route.server_id is not None
    servers.take_slot(route, "lost")
    servers.take_slot(route, "alive")
    key = f"ownpost:connections:{route.server_id}"
    for holder in ("lost", "alive"):
        queue.connection().zadd(key, {holder: 1.0})  # as if a minute had passed
    servers.keep_slots([(route.server_id, "alive")])
    assert servers.take_slot(route, "new")
    assert not servers.take_slot(route, "one too many")


def test_without_redis_each_worker_keeps_to_the_limit_by_itself(post: Post) -> None:
    with post.world.acme_scope():
        route = _route(1)
    queue.configure("redis://127.0.0.1:9/0")
    try:
        assert servers.take_slot(route, "one")
        assert servers.take_slot(route, "of another worker")
    finally:
        queue.configure(post.world.settings.redis_url)


def test_the_platform_server_is_the_operators_to_limit(post: Post) -> None:
    with post.world.acme_scope():
        route = servers.platform_route()
    assert all(servers.take_slot(route, str(number)) for number in range(100))


def test_a_worker_waits_while_others_have_all_the_connections(post: Post) -> None:
    with MailServer() as own:
        post.use(own)
        welcome = post.welcome()
        with post.world.acme_scope():
            route = servers.route_of(None)
        others = [str(number) for number in range(route.limits.connections)]
        assert all(servers.take_slot(route, other) for other in others)
        assert route.server_id is not None
        server_id = route.server_id
        slots_taken = queue.connection().zcard(f"ownpost:connections:{server_id}")
        assert slots_taken == route.limits.connections

        drain = threading.Thread(target=post.send)
        drain.start()
        drain.join(0.5)
        assert own.messages == []
        for other in others:
            servers.free_slot(server_id, other)
        own.wait_for(1)
        drain.join(20)
    assert post.get(welcome).state == "sent"
    with db.system_scope("tests"):
        assert queue.connection().zcard(f"ownpost:connections:{server_id}") == 1  # the warm one
    assert slots.LASTS > 15  # longer than a warm connection is kept, which nobody renews
