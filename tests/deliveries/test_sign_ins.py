"""A wrong password, tried by several workers with many letters: how often the server hears it."""

from __future__ import annotations

import datetime as dt

import pytest
from sqlalchemy import select, update

from panel import db
from panel.outbox.models import Delivery
from panel.servers import service as servers
from panel.servers.models import MailServer as Row
from tests.deliveries.conftest import Post
from tests.support.mailserver import MailServer, Peer, ScriptedServer

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


@pytest.mark.parametrize(
    "reply",
    ["454 4.7.0 Temporary authentication failure", "421 4.7.0 Authentication failed, closing connection", ""],
    ids=["later", "closing", "hung up"],
)
def test_it_is_tried_no_more_often_where_the_server_never_says_no(post: Post, reply: str) -> None:
    def play(peer: Peer) -> None:
        peer.greet("AUTH PLAIN")
        peer.hear("AUTH")
        if reply:
            peer.say(reply)
            if reply.startswith("454"):
                peer.hear("QUIT")

    with ScriptedServer(play) as own:
        post.use(own.port, username="u", password="canary")
        _queue(post)
        for _ in range(6):
            post.send_at_once(WORKERS)
            with db.system_scope("tests"), db.transaction() as session:
                session.execute(update(Row).values(paused_until=db.clock(-1)))  # as if its rest were over
            post.world.tick()
        own.finish()
        assert len([line for line in own.heard if line.startswith(b"AUTH")]) == 3
        with post.world.acme_scope():
            server = servers.for_address(post.address_id)
        assert server is not None
        assert (server.state, server.paused_reason) == ("paused", "server")
        assert server.paused_until is not None
        assert server.paused_until > db.now() + dt.timedelta(minutes=50)


def test_a_server_that_closes_for_its_own_sake_is_not_spared_as_if_the_password_were_wrong(post: Post) -> None:
    replies = [
        "421 4.3.2 Service shutting down",
        "421 4.7.0 Too many concurrent connections from your IP",
        "421 4.4.2 timeout exceeded",
        "421 4.3.2 Service shutting down",
    ]

    def play(peer: Peer) -> None:
        peer.greet("AUTH PLAIN")
        peer.hear("AUTH")
        peer.say(replies.pop())

    with ScriptedServer(play) as own:
        post.use(own.port, username="u", password="canary")
        post.welcome()
        while replies:
            left = len(replies)
            post.due_now()
            post.send()
            assert len(replies) == left - 1
            with post.world.acme_scope():
                server = servers.for_address(post.address_id)
            assert server is not None
            assert (server.state, server.auth_tries) == ("ready", 0)
        own.finish()
