"""How many lanes a worker has, and for whom some of them are kept."""

from __future__ import annotations

import threading
from contextlib import ExitStack

import pytest

from panel.deliveries import drain
from panel.deliveries.drain import MAX_LANES, MAX_WAITING, room
from tests.deliveries.conftest import Post
from tests.deliveries.test_lanes import Slow, second_campaign
from tests.support.mailserver import MailServer
from tests.support.wait import wait_for

KEPT = MAX_LANES - MAX_WAITING


@pytest.mark.parametrize(
    ("lanes", "waiting", "more", "of_unknown"),
    [
        (0, 0, MAX_LANES, MAX_WAITING),
        (10, 10, MAX_LANES - 10, MAX_WAITING - 10),
        (MAX_WAITING, MAX_WAITING, KEPT, 0),
        (MAX_WAITING + 10, MAX_WAITING, KEPT - 10, 0),
        # Some that answered have fallen silent: of what is kept they take no more than they have.
        (MAX_WAITING + 10, MAX_WAITING + 10, KEPT - 10, 0),
        (MAX_LANES - 1, 0, 1, 1),
        (MAX_LANES, 0, 0, 0),
        (MAX_LANES, MAX_LANES, 0, 0),
    ],
)
def test_some_lanes_are_kept_for_servers_that_answer(lanes: int, waiting: int, more: int, of_unknown: int) -> None:
    assert room(lanes=lanes, waiting=waiting) == (more, of_unknown)


def test_however_many_servers_are_silent_there_is_room_for_one_that_answers() -> None:
    lanes = 0
    for _ in range(10):  # rounds, in each of which all that may start do so, and say nothing
        lanes += room(lanes=lanes, waiting=lanes)[1]
    assert lanes == MAX_WAITING
    assert room(lanes=lanes, waiting=lanes)[0] == KEPT


def test_silent_servers_leave_a_lane_to_one_that_has_answered(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drain, "MAX_LANES", 3)
    monkeypatch.setattr(drain, "MAX_WAITING", 2)
    with ExitStack() as stack:
        own = stack.enter_context(MailServer())
        silent = [stack.enter_context(Slow(greets=False)) for _ in range(3)]
        post.use(own)
        allowed = ",".join(f"127.0.0.1:{server.port}" for server in (own, *silent))
        post.world.reconfigure(OWNPOST_SMTP_ALLOW=allowed)
        first = post.campaign_id
        known = [post.welcome("known@friends.test")]
        post.send()
        for number, server in enumerate(silent):
            post.campaign_id = second_campaign(post, server.port, f"silent{number}@acme.test")
            post.welcome(f"silent{number}@friends.test")
        draining = threading.Thread(target=post.send)
        draining.start()
        wait_for(lambda: sum(server.has_it.is_set() for server in silent) == 2, what="two silent servers")
        post.campaign_id = first
        known.append(post.join("again@friends.test")[0])
        own.wait_for(2, timeout=30)
        assert sum(server.has_it.is_set() for server in silent) == 2
        for server in silent:
            server.let_go.set()
        draining.join(20)
    assert not draining.is_alive()
    assert {post.get(one).state for one in known} == {"sent"}
