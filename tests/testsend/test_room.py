"""A test email keeps to what its server may have: connections, sign-ins; and it is counted."""

from __future__ import annotations

import pytest
from sqlalchemy import select, update

from panel import db, queue
from panel.deliveries import carrier
from panel.outbox.models import Attempt
from panel.servers import service as servers
from panel.servers.models import MailServer as Row
from tests.deliveries.conftest import Post, platform, post
from tests.deliveries.test_pace import limit
from tests.support.mailserver import MailServer
from tests.testsend.test_test_send import _send, _test_deliveries

__all__ = ["platform", "post"]


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carrier, "_PATIENCE", 0.3)


def _route(post: Post) -> servers.Route:
    with post.world.acme_scope():
        return servers.route_of(post.address_id)


def _attempts() -> list[Attempt]:
    with db.system_scope("tests") as session:
        return list(session.scalars(select(Attempt)))


@pytest.mark.usefixtures("hasty")
def test_without_a_connection_to_spare_it_waits_and_a_delivery_worker_sends_it(post: Post) -> None:
    with MailServer() as own:
        post.use(own)
        limit(post, connections=1)
        route = _route(post)
        assert route.server_id is not None
        servers.take_slot(route, "another")
        browser = post.world.client(post.world.owner)
        _, location = _send(post, browser)
        post.world.work("interactive")
        [row] = _test_deliveries()
        assert (row.state, row.lease_owner) == ("queued", None)
        assert own.connections == 0
        assert _attempts() == []
        for forgotten in (False, True):
            if forgotten:
                queue.connection().delete(*queue.connection().keys("ownpost:live:*"))
            page = browser.get(location).get_data(as_text=True)
            assert 'data-result="queued"' in page
            assert "no connection to spare" in page
            assert 'hx-trigger="every 3s"' in page
            assert "no_worker" not in page
        assert queue.queue(queue.DELIVERY).count == 1
        servers.free_slot(route.server_id, "another")
        post.send()
        own.wait_for(1)
        assert 'data-result="sent"' in browser.get(location).get_data(as_text=True)


def test_it_takes_a_connection_that_is_free_again_a_moment_later(post: Post) -> None:
    with MailServer() as own:
        post.use(own)
        limit(post, connections=1)
        route = _route(post)
        servers.take_slot(route, "another", lasts=0.4)
        _send(post, post.world.client(post.world.owner))
        post.world.work("interactive")
        assert [one.state for one in _test_deliveries()] == ["sent"]
        assert servers.take_slot(route, "the next one")  # it has given its own back


@pytest.mark.usefixtures("hasty")
def test_it_does_not_sign_in_more_often_than_a_password_may_be_tried(post: Post) -> None:
    with MailServer(username="u", password="right") as own:
        post.use(own, username="u", password="wrong")
        with db.system_scope("tests"), db.transaction() as session:
            session.execute(update(Row).values(auth_tries=3, auth_tried_at=db.clock()))
        _send(post, post.world.client(post.world.owner))
        post.world.work("interactive")
        assert [one.state for one in _test_deliveries()] == ["queued"]
        assert own.sign_ins == 0
        assert servers.take_slot(_route(post), "the next one")


@pytest.mark.parametrize(("password", "tries", "state"), [("right", 0, "sent"), ("wrong", 1, "held")])
def test_its_sign_in_counts_like_any_other(post: Post, password: str, tries: int, state: str) -> None:
    with MailServer(username="u", password="right") as own:
        post.use(own, username="u", password=password)
        _send(post, post.world.client(post.world.owner))
        post.world.work("interactive")
    assert [one.state for one in _test_deliveries()] == [state]
    with db.system_scope("tests") as session:
        row = session.scalars(select(Row)).one()
        assert row.auth_tries == tries
        assert row.proven_version == (row.version if state == "sent" else None)


def test_it_is_counted_in_the_limits_and_goes_though_they_are_used_up(post: Post) -> None:
    with MailServer() as own:
        post.use(own)
        limit(post, per_day=1)
        browser = post.world.client(post.world.owner)
        for used in (1, 2):
            _send(post, browser)
            post.world.work("interactive")
            with post.world.acme_scope():
                [usage] = [one for one in servers.usage(servers.route_of(post.address_id))[1] if one.limit == 1]
                assert usage.used == used
        assert [one.state for one in _test_deliveries()] == ["sent", "sent"]
        welcome = post.welcome()
        post.send()
        assert post.get(welcome).state == "queued"
