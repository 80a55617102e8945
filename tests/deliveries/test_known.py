"""What Home and the log say of a letter that may or may not have been accepted."""

from __future__ import annotations

import datetime as dt
import re

import pytest

from panel import db
from panel.accounts import service as accounts
from panel.outbox.models import Attempt, Delivery
from tests.deliveries.conftest import Post
from tests.support.mailserver import Peer, ScriptedServer

BEGUN = dt.datetime(2026, 11, 24, 14, 3, 5, tzinfo=dt.UTC)


def _uncertain(post: Post, **attempt: object) -> int:
    """A letter that was being sent, and the attempt that ended so."""
    letter = post.welcome()
    told = {"ended_at": BEGUN + dt.timedelta(seconds=2), "outcome": "uncertain", "phase": "final_dot", **attempt}
    with post.world.acme_scope(), db.transaction() as session:
        accounts.current().time_zone = "Europe/Berlin"
        delivery = session.get_one(Delivery, letter)
        delivery.state, delivery.reason, delivery.fence = "uncertain", "no_reply", 2
        first = {"fence": 1, "outcome": "deferred", "phase": "rcpt", "ended_at": BEGUN, "bytes_sent": 0}
        for row in (first, {"fence": 2, **told}):
            made = Attempt(delivery_id=letter, server="smtp.acme.test:587", started_at=BEGUN)
            for name, value in row.items():
                setattr(made, name, value)
            session.add(made)
    return letter


@pytest.mark.parametrize(
    ("attempt", "words"),
    [
        (
            {"bytes_sent": 9612, "failure": "protocol_error"},
            "The whole letter (9,612 bytes) had left when the connection broke at 15:03:07 on 24 Nov; "
            "the server may or may not have accepted it.",
        ),
        (
            {"bytes_sent": 9612, "failure": "timed_out"},
            "The whole letter (9,612 bytes) had left when we stopped waiting for the server’s answer at 15:03:07",
        ),
        ({"bytes_sent": 1, "failure": "canceled"}, "had left when the worker was stopped at 15:03:07"),
        ({"failure": "timed_out"}, "The whole letter had left when we stopped waiting"),
    ],
)
def test_they_say_how_much_had_left_and_when(post: Post, attempt: dict[str, object], words: str) -> None:
    letter = _uncertain(post, **attempt)
    browser = post.world.client(post.world.member)
    for path in ("/", "/deliveries", f"/deliveries/{letter}"):
        assert words in browser.get(path).text, path
    assert words not in post.world.client(post.world.stranger).get("/").text


def test_they_say_what_is_known_when_a_worker_was_lost(post: Post) -> None:
    letter = _uncertain(post, ended_at=None, outcome=None, phase="")
    with post.world.acme_scope(), db.transaction() as session:
        delivery = session.get_one(Delivery, letter)
        delivery.state, delivery.lease_owner, delivery.lease_until = "sending", "gone", db.now() - dt.timedelta(hours=1)
    post.world.tick()
    words = "The worker was lost while the letter was on its way, in an attempt begun at 15:03:05 on 24 Nov."
    assert post.get(letter).state == "uncertain"
    for path in ("/", "/deliveries", f"/deliveries/{letter}"):
        assert words in post.world.client(post.world.owner).get(path).text, path


def _after_the_dot(peer: Peer) -> None:
    peer.greet()
    peer.take_envelope()
    peer.hear_letter()


def test_a_connection_that_broke_after_the_dot_leaves_such_words(post: Post) -> None:
    with ScriptedServer(_after_the_dot) as own:
        post.use(own.port)
        post.welcome()
        post.send()
    page = post.world.client(post.world.owner).get("/").text
    assert re.search(r"The whole letter \([\d,]+ bytes\) had left when the connection broke at \d\d:\d\d:\d\d", page)


def test_home_names_the_newest_three(post: Post) -> None:
    letters = [_uncertain(post, bytes_sent=10 + number) for number in range(5)]
    page = post.world.client(post.world.owner).get("/").text
    assert "5 letters may or may not have arrived" in page
    assert [f'href="/deliveries/{letter}"' in page for letter in letters] == [False, False, True, True, True]
