"""A wrong password, tried by several workers with many letters: how often the server hears it."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from panel import db
from panel.outbox.models import Delivery
from panel.servers import service as servers
from tests.deliveries.conftest import Post
from tests.support.mailserver import MailServer

LETTERS, WORKERS = 60, 3


def _queue(post: Post, first: int = 0) -> list[int]:
    return [post.welcome(f"p{number}@friends.test") for number in range(first, first + LETTERS)]


def _states(post: Post) -> set[str]:
    with post.world.acme_scope():
        # Of the owner's notes, which are switched off, there are rows, too.
        wanted = select(Delivery.state).where(Delivery.kind != "system", Delivery.to_address != "owner@acme.test")
        return set(db.session().scalars(wanted))


@pytest.mark.parametrize("proven", [False, True], ids=["never worked", "worked before"])
def test_it_is_tried_at_most_three_times_and_all_goes_out_after_the_fix(post: Post, proven: bool) -> None:
    with MailServer(username="u", password="right") as own:
        post.use(own, username="u", password="right" if proven else "wrong")
        if proven:
            post.welcome("first@friends.test")
            post.send()
            own.wait_for(1)
            own.password = "changed at the provider"
        before = own.sign_ins
        with post.world.app.app_context():
            from panel.deliveries import service as deliveries

            deliveries.close()  # no connection of before
        _queue(post)
        for _ in range(3):
            post.send_at_once(WORKERS)
            post.world.tick()
        assert own.sign_ins - before <= (3 if proven else 1)
        assert "queued" not in _states(post)
        told = [one for one in post.platform.messages if one.recipients == ("owner@acme.test",)]
        assert len(told) == 1
        own.password = "right"
        post.use(own, username="u", password="right")
        with post.world.acme_scope():
            assert servers.route_of(post.address_id).paused is False
        post.world.work("housekeeping")
        post.send_at_once(WORKERS)
        own.wait_for(LETTERS + proven, timeout=60)
    assert _states(post) == {"sent"}
