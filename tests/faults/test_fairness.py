"""Twenty servers that swallow every connection, and two workers: another account hardly notices."""

from __future__ import annotations

import statistics
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from panel import db
from panel.accounts import service as accounts
from panel.addresses.models import OutboundAddress
from panel.campaigns import service as campaigns
from panel.deliveries import service as deliveries
from panel.events.models import Event
from panel.participants import service as participants
from panel.servers import service as servers
from tests.faults.conftest import Build
from tests.faults.driver import LONG, LONG_LEASE, Rig
from tests.faults.reconcile import reconcile
from tests.faults.sink import BlackHole, Sink
from tests.support.wait import wait_for

pytestmark = pytest.mark.timeout(240)

HOLES = 20
EVENTS = 100 if LONG else 40
CONNECT = 3.0
"""Seconds after which a worker gives up on a connection."""

NOISE = 0.5
"""Seconds of a busy machine's own. Who waited for a single black hole would wait for six times as long."""


def _account(rig: Rig, number: int, port: int) -> None:
    """An account whose own server is a black hole, with letters that are due."""
    with db.system_scope("tests"):
        account = accounts.ensure(f"Hole {number}")
    entry = servers.Entry(
        preset="other", host="127.0.0.1", port=port, security="none", auth="auto", username="", password=""
    )
    with rig.post.world.app.app_context(), db.account_scope(account.id):
        with db.transaction() as session:
            address = OutboundAddress(
                id=uuid.uuid4(), email=f"hello@hole{number}.test", confirmed_at=db.now(), is_default=True
            )
            session.add(address)
        servers.note_passed(address.id, entry)
        servers.save(address.id, entry, servers.By())
        campaign = campaigns.create(
            campaigns.Details(name="Hole", company_name="Hole", referral_url="https://hole.test/r")
        )
        with db.transaction():
            for friend in range(10):
                person, _ = participants.ensure_referrer(campaign.id, f"h{number}-{friend}@friends.test", "R", "M")
                event = Event(
                    id=uuid.uuid4(), account_id=account.id, campaign_id=campaign.id, type="referrer.joined",
                    natural_key=str(uuid.uuid4()), payload={}, occurred_at=db.now(),
                )  # fmt: skip
                db.session().add(event)
                db.session().flush()
                deliveries.queue_for(
                    campaign=campaign, event_id=event.id, event_type="referrer.joined", referrer=person
                )


def _event_to_accepted(rig: Rig, prefix: str) -> list[float]:
    """Seconds from each event to its letter's acceptance, one event after another."""
    taken = []
    for number in range(EVENTS):
        recipient = f"{prefix}{number}-0@friends.test"
        reported = time.time()
        rig.queue(1, prefix=f"{prefix}{number}-")
        wait_for(
            lambda recipient=recipient: any(one.recipient == recipient for one in rig.sink.accepted[-5:]),
            30,
            what=f"the letter to {recipient}",
        )
        letter = next(one for one in reversed(rig.sink.accepted) if one.recipient == recipient)
        assert letter.ended_at is not None
        taken.append(letter.ended_at - reported)
    return taken


def _p95(seconds: list[float]) -> float:
    return statistics.quantiles(seconds, n=20)[-1]


@contextmanager
def _kept_busy(rig: Rig, ports: set[int]) -> Iterator[list[int]]:
    """The black holes' rests end at once, again and again, so that they go on costing connections.

    Yields how many were being dialled, each time that somebody looked.
    """
    over = threading.Event()
    dialled: list[int] = []

    def wake() -> None:
        while not over.wait(0.25):
            dialled.append(_dialling(ports))
            rig.pass_time(but=[rig.post.world.acme.id])

    thread = threading.Thread(target=wake, name="wake")
    thread.start()
    try:
        yield dialled
    finally:
        over.set()
        thread.join(10)


def _dialling(ports: set[int]) -> int:
    """How many connections to these ports wait for an answer (the system's state SYN_SENT)."""
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    waiting = [line.split() for line in lines if line.split()[3] == "02"]
    return sum(int(words[2].rpartition(":")[2], 16) in ports for words in waiting)


def test_twenty_black_holes_keep_nobody_else_waiting(build: Build) -> None:
    with ExitStack() as stack:
        sink = stack.enter_context(Sink())
        holes = [stack.enter_context(BlackHole()) for _ in range(HOLES)]
        rig = build(sink, lease=LONG_LEASE)
        allowed = ",".join(f"127.0.0.1:{port}" for port in (sink.port, *(hole.port for hole in holes)))
        rig.post.world.reconfigure(OWNPOST_SMTP_ALLOW=allowed)
        rig.environ["OWNPOST_CONNECT_SECONDS"] = f"{CONNECT:g}"
        rig.crew(2)
        rig.queue(5, prefix="warm")
        rig.wait_until_settled()
        without = _event_to_accepted(rig, "without")
        for number, hole in enumerate(holes):
            _account(rig, number, hole.port)
        with _kept_busy(rig, {hole.port for hole in holes}) as dialled:
            wait_for(lambda: max(dialled, default=0) >= 2, 30, what="workers to fall into holes")
            beside = _event_to_accepted(rig, "beside")
        last = f"beside{EVENTS - 1}-0@friends.test"
        wait_for(lambda: rig.states_by_recipient()[last] == "sent", 10, what="the record of the last letter")
        p95_without, p95_beside = _p95(without), _p95(beside)
        waiting = {f"h{number}-{friend}@friends.test" for number in range(HOLES) for friend in range(10)}
        reconcile(
            rig, what="20 black holes and 2 workers", uncertain_at_most=0, unsettled=waiting,
            dialled_at_once=max(dialled), p95_ms=(round(1000 * p95_without), round(1000 * p95_beside)),
        )  # fmt: skip
        assert p95_beside <= 2 * p95_without + NOISE
