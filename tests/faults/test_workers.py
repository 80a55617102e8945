"""Workers that are killed, stopped and frozen while they send: nothing is lost, nothing is sent twice by itself.

The short form of the fault tests: real worker processes, real signals, a server that keeps every letter it accepts.
"""

from __future__ import annotations

import email
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import func, select

from panel import db
from panel.outbox.models import Delivery
from tests.deliveries.conftest import Post, platform, post
from tests.support.mailserver import MailServer, Peer, ScriptedServer
from tests.support.wait import wait_for

__all__ = ["platform", "post"]

LEASE = "2"
pytestmark = pytest.mark.timeout(120)


class Workers:
    """Worker processes of the test's own, and its ticker."""

    def __init__(self, post: Post) -> None:
        self._post = post
        self.running: list[subprocess.Popen[bytes]] = []

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        short = {"OWNPOST_LEASE_SECONDS": LEASE, "OWNPOST_TICKER_SECONDS": "0.3"}
        environ = {**os.environ, **self._post.world.environ, **short}
        process = subprocess.Popen([sys.executable, "-m", "panel.cli", *arguments], env=environ)
        self.running.append(process)
        return process

    def worker(self) -> subprocess.Popen[bytes]:
        return self.start("worker", "--queue", "delivery")

    def stop(self) -> None:
        for process in self.running:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
        for process in self.running:
            process.wait(10)


@pytest.fixture
def workers(post: Post) -> Iterator[Workers]:
    made = Workers(post)
    yield made
    made.stop()


def _states() -> Counter[str]:
    with db.system_scope("tests") as session:
        found = session.execute(select(Delivery.state, func.count()).group_by(Delivery.state))
        return Counter({row[0]: row[1] for row in found})


def _message_ids() -> dict[str, str]:
    with db.system_scope("tests") as session:
        return {row.message_id: row.state for row in session.execute(select(Delivery.message_id, Delivery.state))}


def _waiting() -> int:
    states = _states()
    return states["queued"] + states["sending"] + states["deferred"] + states["held"]


def _reconcile(accepted: list[bytes], *, uncertain_at_most: int) -> None:
    ids = Counter(str(email.message_from_bytes(content)["Message-ID"]) for content in accepted)
    assert [one for one, count in ids.items() if count > 1] == []
    rows = _message_ids()
    assert set(ids) <= set(rows)
    assert [one for one, state in rows.items() if state == "sent" and one not in ids] == []
    assert [one for one in ids if rows[one] not in ("sent", "uncertain")] == []
    assert Counter(rows.values())["uncertain"] <= uncertain_at_most


@contextmanager
def _sink(post: Post) -> Iterator[MailServer]:
    """A server that takes a moment for each letter, so that signals find letters in flight."""

    def answer(verb: str, _argument: str) -> str | None:
        if verb == "DATA":
            time.sleep(0.004)
        return None

    with MailServer(answer=answer) as own:
        post.use(own)
        yield own


@pytest.mark.parametrize("seed", range(1, int(os.environ.get("OWNPOST_FAULT_SEEDS", "1")) + 1))
def test_killed_workers_lose_nothing_and_repeat_nothing(post: Post, workers: Workers, seed: int) -> None:
    chance = random.Random(seed)
    kills = 4
    with _sink(post) as own:
        for number in range(200):
            post.welcome(f"p{number}@friends.test") if number == 0 else post.join(f"p{number}@friends.test")
        workers.start("ticker")
        for _ in range(3):
            workers.worker()
        for number in range(kills):
            target = 15 + 40 * number + chance.randrange(20)
            wait_for(lambda target=target: len(own.messages) >= target, 30, what=f"{target} letters")
            workers.running[-1].kill()
            workers.worker()
        wait_for(lambda: _waiting() == 0, 60, what="an end to all deliveries")
        _reconcile([one.content for one in own.messages], uncertain_at_most=kills * 2)


def test_a_worker_asked_to_stop_finishes_the_letter_in_flight_and_gives_back_the_rest(
    post: Post, workers: Workers
) -> None:
    with _sink(post) as own:
        for number in range(60):
            post.welcome(f"p{number}@friends.test") if number == 0 else post.join(f"p{number}@friends.test")
        worker = workers.worker()
        workers.start("ticker")
        wait_for(lambda: len(own.messages) >= 5, 30, what="letters")
        worker.send_signal(signal.SIGTERM)
        started = time.monotonic()
        worker.wait(10)
        assert time.monotonic() - started < 5
        assert _states()["sending"] == 0
        assert _states()["uncertain"] == 0
        workers.worker()
        wait_for(lambda: _waiting() == 0, 30, what="an end to all deliveries")
        _reconcile([one.content for one in own.messages], uncertain_at_most=0)


def test_a_worker_frozen_past_its_lease_learns_of_the_250_and_sends_nothing_more(post: Post, workers: Workers) -> None:
    heard = []

    def slow(peer: Peer) -> None:
        peer.greet("8BITMIME")
        peer.take_envelope()
        heard.append(peer.hear_letter())
        wait_for(lambda: _states()["uncertain"] == 1, 20, what="the lease to lapse")
        peer.say("250 2.0.0 taken after all")
        peer.hear("QUIT")
        peer.say("221 bye")

    with ScriptedServer(slow) as own:
        post.use(own.port)
        welcome = post.welcome()
        worker = workers.worker()
        workers.start("ticker")
        wait_for(lambda: bool(heard), 20, what="the letter")
        worker.send_signal(signal.SIGSTOP)
        wait_for(lambda: post.get(welcome).state == "uncertain", 20, what="the lease to lapse")
        worker.send_signal(signal.SIGCONT)
        wait_for(lambda: post.get(welcome).state == "sent", 20, what="the late 250")
        assert len(heard) == 1
