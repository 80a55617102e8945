"""A server that was in trouble is tried by one letter at a time, however many workers and lanes look at it."""

from __future__ import annotations

import threading
import time
import uuid
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager

import pytest
from sqlalchemy import update

from panel import db
from panel.addresses import service as addresses
from panel.campaigns import service as campaigns
from panel.deliveries import probing
from panel.deliveries.claims import LaneKey
from panel.deliveries.drain import Drain
from panel.deliveries.lane import Lane
from panel.servers.models import MailServer as Row
from tests.deliveries.conftest import Post
from tests.deliveries.test_lanes import second_campaign
from tests.support.mailserver import MailServer, Peer, ScriptedServer
from tests.support.wait import wait_for

WORKERS = 3


class Gate(ScriptedServer):
    """Keeps everybody waiting for its greeting until it is opened, and then takes every letter."""

    def __init__(self) -> None:
        self.dialled, self.opened = threading.Event(), threading.Event()
        super().__init__(self._take)

    def _take(self, peer: Peer) -> None:
        self.dialled.set()
        self.opened.wait(100)
        peer.greet("8BITMIME")
        while not (said := peer.hear()).startswith(b"QUIT"):
            peer.say("354 go ahead" if said == b"DATA" else "250 ok")
            if said == b"DATA":
                peer.hear_letter()
                peer.say("250 taken")
        peer.say("221 bye")


@contextmanager
def working(post: Post) -> Iterator[None]:
    """Several workers that look again and again."""
    over = threading.Event()

    def work(drain: Drain) -> None:
        with post.world.app.app_context():
            while not over.is_set():
                drain.run()
                over.wait(0.1)
        drain.close()

    threads = [
        threading.Thread(target=work, args=(Drain(post.world.app, post.world.settings),)) for _ in range(WORKERS)
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join(30)
            assert not thread.is_alive()


def counting_looks(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each worker has looked and seen that somebody else tries the server."""
    looks: Counter[str] = Counter()
    real = probing.to_try

    def counted(lanes: Collection[uuid.UUID]) -> dict[uuid.UUID, bool]:
        found = real(lanes)
        looks[threading.current_thread().name] += True in found.values()
        return found

    monkeypatch.setattr(probing, "to_try", counted)
    return looks


@pytest.mark.parametrize("lanes", [1, 2], ids=["one lane", "the default lane and the address's own"])
def test_one_letter_tries_over_all_workers_and_lanes(post: Post, monkeypatch: pytest.MonkeyPatch, lanes: int) -> None:
    looks = counting_looks(monkeypatch)
    with Gate() as gate:
        post.use(gate.port)
        made = [post.welcome(f"first{number}@friends.test") for number in range(20)]
        if lanes == 2:
            with post.world.acme_scope():
                details = campaigns.Details(
                    name="Own", company_name="Acme", referral_url="https://acme.test/r", address_id=post.address_id
                )
                post.campaign_id = campaigns.create(details).id
            made += [post.welcome(f"second{number}@friends.test") for number in range(20)]
        with db.system_scope("tests"), db.transaction() as session:
            session.execute(update(Row).values(failures_in_a_row=5))
        with working(post):
            try:
                assert gate.dialled.wait(60)
                # All but the one that waits for the greeting look, and look again.
                wait_for(
                    lambda: gate.connections > 1 or sum(count >= 2 for count in looks.values()) >= WORKERS - 1,
                    60,
                    what="the others to look",
                )
                tried = gate.connections
            finally:
                gate.opened.set()
            assert tried == 1
            wait_for(lambda: {post.get(one).state for one in made} == {"sent"}, 90, what="all letters")


def test_a_server_that_somebody_tries_has_no_other_lane_started(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[uuid.UUID] = []
    real = Lane.start

    def noted(lane: Lane) -> None:
        started.append(lane.key.lane)
        real(lane)

    monkeypatch.setattr(Lane, "start", noted)
    looks = counting_looks(monkeypatch)
    with Gate() as gate:
        post.use(gate.port)
        made = [post.welcome(f"friend{number}@friends.test") for number in range(5)]
        with db.system_scope("tests"), db.transaction() as session:
            session.execute(update(Row).values(failures_in_a_row=5))
        first = threading.Thread(target=post.send)
        first.start()
        try:
            assert gate.dialled.wait(60)
            with working(post):
                wait_for(lambda: sum(looks.values()) > 3 * WORKERS, 60, what="the others to look")
                assert len(started) == 1
                gate.opened.set()
                wait_for(lambda: {post.get(one).state for one in made} == {"sent"}, 90, what="all letters")
        finally:
            gate.opened.set()
            first.join(30)
    assert not first.is_alive()


def test_of_many_servers_in_trouble_a_few_are_opened_at_a_time_and_all_in_the_end(post: Post) -> None:
    with ExitStack() as stack:
        gates = [stack.enter_context(Gate()) for _ in range(12)]
        post.use(gates[0].port)
        for number, gate in enumerate(gates[1:]):
            post.campaign_id = second_campaign(post, gate.port, email=f"sender{number}@acme.test")
            post.welcome(f"friend{number}@friends.test")
        post.world.reconfigure(OWNPOST_SMTP_ALLOW=",".join(f"127.0.0.1:{gate.port}" for gate in gates))
        with db.system_scope("tests"), db.transaction() as session:
            session.execute(update(Row).values(failures_in_a_row=5))
        drain = threading.Thread(target=post.send)
        drain.start()
        try:
            for gate in gates[1:]:
                assert gate.dialled.wait(60)
        finally:
            for gate in gates:
                gate.opened.set()
            drain.join(30)
    assert not drain.is_alive()
    assert not gates[0].dialled.is_set()


def test_who_is_sending_begins_before_those_in_trouble(post: Post) -> None:
    drain = Drain(post.world.app, post.world.settings)
    drain._tried_at = time.monotonic() + 60
    works, *others = [LaneKey(uuid.uuid4(), uuid.uuid4()) for _ in range(10)]
    trouble = {key.lane: number == 0 for number, key in enumerate(others)}
    [alone] = drain._without_trouble(others, trouble, ())
    assert alone in others[1:]
    assert drain._without_trouble([*others, works], trouble, ()) == [works]
    # One that is running already is not to be started, so it is in nobody's way.
    running = drain._without_trouble([*others, works], trouble, {works.lane})
    assert running[0] == works
    assert running[1] in others[1:]


def test_those_in_trouble_are_tried_however_much_there_is_to_do(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("panel.deliveries.drain.MAX_LANES", 1)
    with Gate() as gate, MailServer() as working:
        post.use(gate.port)
        post.welcome("friend@friends.test")
        with db.system_scope("tests"), db.transaction() as session:
            session.execute(update(Row).values(failures_in_a_row=5))
        works = second_campaign(post, working.port, email="works@acme.test")
        post.campaign_id = works
        post.welcome("quick@friends.test")
        post.world.reconfigure(OWNPOST_SMTP_ALLOW=f"127.0.0.1:{gate.port},127.0.0.1:{working.port}")
        started: list[uuid.UUID | None] = []
        monkeypatch.setattr(Drain, "_start", lambda _drain, key: started.append(key.address_id))
        drain = Drain(post.world.app, post.world.settings)
        with post.world.app.app_context():
            drain._start_lanes()
            drain._tried_at = time.monotonic() + 60  # as if the next ones followed at once, on whatever machine
            for _ in range(2):
                drain._start_lanes()
            drain._tried_at = time.monotonic() - 0.6
            drain._start_lanes()
    # There is room for one at a time, and one that works is always due.
    in_trouble = [one is None for one in started]
    assert in_trouble == [True, False, False, True]


def test_hundreds_in_trouble_do_not_hide_who_works(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("panel.deliveries.drain.MAX_LANES", 3)
    with ExitStack() as stack:
        gates = [stack.enter_context(Gate()) for _ in range(6)]
        working = stack.enter_context(MailServer())
        for number, gate in enumerate(gates):
            post.campaign_id = second_campaign(post, gate.port, email=f"sender{number}@acme.test")
            post.welcome(f"friend{number}@friends.test")
        with db.system_scope("tests"), db.transaction() as session:
            session.execute(update(Row).values(failures_in_a_row=5))
        post.campaign_id = second_campaign(post, working.port, email="works@acme.test")
        post.welcome("quick@friends.test")
        ports = [gate.port for gate in gates] + [working.port]
        post.world.reconfigure(OWNPOST_SMTP_ALLOW=",".join(f"127.0.0.1:{port}" for port in ports))
        started: list[uuid.UUID] = []
        monkeypatch.setattr(Drain, "_start", lambda _drain, key: started.append(key.lane))
        drain = Drain(post.world.app, post.world.settings)
        drain._tried_at = time.monotonic() + 60
        with post.world.app.app_context():
            drain._start_lanes()
    with post.world.acme_scope():
        [works] = [one.id for one in addresses.all_addresses() if one.email == "works@acme.test"]
    assert started == [works]
