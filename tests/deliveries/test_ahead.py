"""The next letters are claimed while all connections wait for their server, so that none waits for that later."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace

import pytest
from sqlalchemy import update
from sqlalchemy.exc import OperationalError

from panel import db
from panel.deliveries import claims as service
from panel.deliveries import lane
from panel.deliveries.carrier import Carrier
from panel.deliveries.claims import Claimed, LaneKey
from panel.deliveries.lane import Lane
from panel.deliveries.widths import Widths
from panel.servers.models import MailServer as Row
from tests.deliveries.conftest import Post
from tests.deliveries.letters import waiting
from tests.support.mailserver import MailServer

LETTERS = 120


class Claims:
    """Notes of each claim how many letters the lane had ready, and whether it was made ahead. `fail` makes one fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ready: list[int] = []
        self.ahead: list[bool] = []
        self.fail: Exception | None = None
        self._as_it_is = Lane._claim_batch
        monkeypatch.setattr(Lane, "_claim_batch", lambda one, most: self._claim(one, most))

    def _claim(self, one: Lane, most: int) -> list[Claimed]:
        self.ready.append(len(one._ready))
        self.ahead.append(most == lane._AHEAD)
        if self.ahead[-1] and self.fail is not None:
            failure, self.fail = self.fail, None
            raise failure
        return self._as_it_is(one, most)


@pytest.fixture
def claims(monkeypatch: pytest.MonkeyPatch) -> Claims:
    return Claims(monkeypatch)


def takes_its_time(verb: str, _argument: str) -> None:
    if verb == "RCPT":
        time.sleep(0.02)


def test_letters_are_claimed_before_connections_ask_for_them(post: Post, claims: Claims) -> None:
    with MailServer(answer=takes_its_time) as own:
        post.use(own)
        made = [post.welcome(f"r{number}@friends.test") for number in range(LETTERS)]
        post.send()
        assert any(ready > 0 for ready in claims.ready)
        assert len(own.messages) == LETTERS
    assert {post.get(one).state for one in made} == {"sent"}
    assert {len(post.attempts(one)) for one in made} == {1}


def test_what_is_ready_already_counts_as_looked_at_when_it_was(
    post: Post, claims: Claims, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_it_is, seen = Lane._claim, []

    def claim(one: Lane, most: int = lane.MOST) -> bool:
        before = one._screened_at if one._ready else None
        done = as_it_is(one, most)
        if before is not None:
            seen.append(one._screened_at == before)
        return done

    monkeypatch.setattr(Lane, "_claim", claim)
    with MailServer(answer=takes_its_time) as own:
        post.use(own)
        for number in range(LETTERS):
            post.welcome(f"r{number}@friends.test")
        post.send()
    assert seen
    assert all(seen)


def test_a_claim_that_is_given_up_ends_no_newer_one_of_the_same_letter(post: Post) -> None:
    """Its blast was paused and resumed while it was ready, and this lane has claimed it anew."""
    with post.world.acme_scope():
        [number] = waiting(1)
        key = LaneKey(db.account_id(), None)
        [earlier] = service.claim(key, owner="w", limit=1, lease=60)
        service.release([earlier.claim])
        [later] = service.claim(key, owner="w", limit=1, lease=60)
    carrier = Carrier(post.world.settings, threading.Event())
    one = Lane(post.world.app, carrier, Widths(), key, owner="w", news=threading.Event())
    one._held[number] = later.claim
    one.settled(SimpleNamespace(claim=earlier.claim))
    assert one.holds() == [number]
    one.settled(SimpleNamespace(claim=later.claim))
    assert one.holds() == []


@pytest.mark.parametrize(
    "failure", [OperationalError("SELECT", {}, Exception("gone")), RuntimeError("a fault of ours")]
)
def test_one_that_fails_breaks_no_letter_off(post: Post, claims: Claims, failure: Exception) -> None:
    claims.fail = failure
    with MailServer(answer=takes_its_time) as own:
        post.use(own)
        made = [post.welcome(f"r{number}@friends.test") for number in range(LETTERS)]
        post.send()
        assert claims.fail is None
        assert len(own.messages) == LETTERS
    assert {post.get(one).state for one in made} == {"sent"}
    assert {len([one for one in post.attempts(one) if one.outcome != "lost"]) for one in made} == {1}


@pytest.mark.parametrize(("limit", "most"), [({"per_hour": 60}, 60), ({"per_minute": 100}, 100)])
def test_a_limit_that_is_reached_is_not_asked_again_and_again(
    post: Post, claims: Claims, limit: dict[str, int], most: int
) -> None:
    with MailServer(answer=takes_its_time) as own:
        post.use(own)
        with post.world.acme_scope(), db.transaction() as session:
            session.execute(update(Row).values(limits=limit, version=Row.version + 1))
        for number in range(LETTERS):
            post.welcome(f"r{number}@friends.test")
        post.send()
        assert len(own.messages) <= most
    assert claims.ahead.count(True) < 6
