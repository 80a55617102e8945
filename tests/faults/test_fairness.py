"""What one account's letters or servers do to another account's events: hardly anything.

How long it is from an event to the acceptance of its letter is measured in turns, without and beside what may disturb
it, so that whatever else the machine does falls on both.
"""

from __future__ import annotations

import statistics
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import insert

from panel import db
from panel.accounts import service as accounts
from panel.addresses.models import OutboundAddress
from panel.blasts import service as blasts
from panel.campaigns import service as campaigns
from panel.deliveries import service as deliveries
from panel.events.models import Event
from panel.message.drafting import Words
from panel.participants import service as participants
from panel.participants.models import Participant
from panel.servers import service as servers
from panel.testsend import service as testsend
from tests.faults.conftest import Build
from tests.faults.driver import LONG, LONG_LEASE, Rig
from tests.faults.reconcile import reconcile
from tests.faults.sink import BlackHole, Passing, Sink
from tests.support.wait import wait_for

pytestmark = pytest.mark.timeout(1200 if LONG else 600)

HOLES = 20
ROUNDS = 3
EVENTS = 60 if LONG else 30
"""In each round, without and beside."""
CONNECT = 3.0
"""Seconds after which a worker gives up on a connection."""

FLOOR = 0.05 if LONG else 1.4
"""Seconds below which the machine decides how long it takes, and not what is tried here. In the short run other tests
have its cores: there it is tried that nobody waits for a black hole (3 s) or behind a campaign (half a minute)."""

CROWD = 100_000 if LONG else 5_000
PAUSE = 0.01 if LONG else 0.1
"""Seconds that the campaign's server takes for each of its letters."""


@contextmanager
def _account(rig: Rig, name: str, port: int) -> Iterator[campaigns.Campaign]:
    """The scope of another account with an address, this own server and a campaign."""
    with db.system_scope("tests"):
        account = accounts.ensure(name)
    entry = servers.Entry(
        preset="other", host="127.0.0.1", port=port, security="none", auth="auto", username="", password=""
    )
    with rig.post.world.app.app_context(), db.account_scope(account.id):
        with db.transaction() as session:
            address = OutboundAddress(
                id=uuid.uuid4(), email=f"hello@{name}.test", confirmed_at=db.now(), is_default=True
            )
            session.add(address)
        servers.note_passed(address.id, entry)
        servers.save(address.id, entry, servers.By())
        yield campaigns.create(campaigns.Details(name=name, company_name=name, referral_url=f"https://{name}.test/r"))


def _fall_into(rig: Rig, number: int, port: int) -> None:
    """An account whose own server is a black hole, with letters that are due."""
    with _account(rig, f"hole{number}", port) as campaign, db.transaction():
        for friend in range(10):
            person, _ = participants.ensure_referrer(campaign.id, f"h{number}-{friend}@friends.test", "R", "M")
            event = Event(
                id=uuid.uuid4(), account_id=campaign.account_id, campaign_id=campaign.id, type="referrer.joined",
                natural_key=str(uuid.uuid4()), payload={}, occurred_at=db.now(),
            )  # fmt: skip
            db.session().add(event)
            db.session().flush()
            deliveries.queue_for(campaign=campaign, event_id=event.id, event_type="referrer.joined", referrer=person)


def _event_to_accepted(rig: Rig, prefix: str) -> list[float]:
    """Seconds from each event to its letter's acceptance, one event after another."""
    taken = []
    for number in range(EVENTS):
        recipient = f"{prefix}{number}-0@friends.test"
        seen, reported = len(rig.sink.bodies), time.time()
        rig.queue(1, prefix=f"{prefix}{number}-")
        letter = wait_for(
            lambda recipient=recipient, seen=seen: next(
                (one for one in rig.sink.bodies[seen:] if one.accepted and one.recipient == recipient), None
            ),
            30,
            what=f"the letter to {recipient}",
        )
        assert letter.ended_at is not None
        taken.append(letter.ended_at - reported)
    return taken


def _in_turns(rig: Rig, disturbed: Callable[[], AbstractContextManager[object]]) -> tuple[float, float]:
    """The medians of the rounds' p95: without, and while it is disturbed."""
    without, beside = [], []
    for number in range(ROUNDS):
        without.append(_p95(_event_to_accepted(rig, f"without{number}-")))
        with disturbed():
            beside.append(_p95(_event_to_accepted(rig, f"beside{number}-")))
    last = f"beside{ROUNDS - 1}-{EVENTS - 1}-0@friends.test"
    wait_for(lambda: rig.states_by_recipient()[last] == "sent", 10, what="the record of the last letter")
    return statistics.median(without), statistics.median(beside)


def _p95(seconds: list[float]) -> float:
    return statistics.quantiles(seconds, n=20)[-1]


def _in_ms(*seconds: float) -> tuple[int, ...]:
    return tuple(round(1000 * one) for one in seconds)


@contextmanager
def _kept_busy(rig: Rig, ports: set[int]) -> Iterator[list[int]]:
    """The black holes' rests end within a second, again and again, so that they go on costing connections: a minute
    after each failure becomes less than one. Each ends at a time of its own, as rests do that began at different times.

    Yields how many were being dialled, each time that somebody looked.
    """
    over = threading.Event()
    dialled: list[int] = []

    def wake() -> None:
        while not over.wait(CONNECT / 3):
            dialled.append(_dialling(ports))
            rig.shorten_rests(CONNECT / 3)

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
        ports = {hole.port for hole in holes}
        rig = build(sink, lease=LONG_LEASE)
        rig.post.world.reconfigure(OWNPOST_SMTP_ALLOW=",".join(f"127.0.0.1:{port}" for port in (sink.port, *ports)))
        rig.environ["OWNPOST_CONNECT_SECONDS"] = f"{CONNECT:g}"
        rig.crew(2)
        rig.queue(5, prefix="warm")
        rig.wait_until_settled()
        at_once: list[int] = []

        @contextmanager
        def falling() -> Iterator[None]:
            with _kept_busy(rig, ports) as dialled:
                wait_for(lambda: max(dialled, default=0) >= 2, 30, what="workers to fall into holes")
                yield
            at_once.append(max(dialled))
            wait_for(lambda: not _dialling(ports), 30, what="all holes to rest")

        for number, hole in enumerate(holes):
            _fall_into(rig, number, hole.port)
        with falling():
            pass
        without, beside = _in_turns(rig, falling)
        waiting = {f"h{number}-{friend}@friends.test" for number in range(HOLES) for friend in range(10)}
        reconcile(
            rig, what="20 black holes and 2 workers", uncertain_at_most=0, unsettled=waiting,
            dialled_at_once=max(at_once), p95_ms=_in_ms(without, beside),
        )  # fmt: skip
        assert beside <= 2 * max(without, FLOOR)


def _queue_blast(rig: Rig, port: int) -> tuple[uuid.UUID, uuid.UUID]:
    """A blast of another account to a crowd, queued in one transaction; the account's id and the blast's."""
    with _account(rig, "crowd", port) as campaign:
        now = db.now()
        keys = [uuid.uuid4() for _ in range(CROWD)]
        rows = [
            {
                "id": key, "account_id": campaign.account_id, "campaign_id": campaign.id,
                "email": f"crowd-{key.hex}@friends.test", "first_name": "Robin", "last_name": "Meyer",
                "referral_code": key.hex[:16].upper(), "joined_at": now, "referral_count": 0, "qualified_count": 0,
                "made_at": now,
            }
            for key in keys
        ]  # fmt: skip
        with db.transaction() as session:
            session.execute(insert(Participant), rows)
        blast = blasts.create(campaign.id)
        words = Words(subject="News", preheader="", html="<p>Hello {{ recipient.first_name }}</p>", text="")
        blasts.save(blast.id, words, blasts.Audience(who="referrers"))
        assert blasts.send(blast.id)
        return campaign.account_id, blast.id


def test_a_big_campaign_of_one_account_keeps_no_other_waiting(build: Build) -> None:
    def slow(passing: Passing) -> None:
        if passing.point == "dot" and passing.recipient.startswith("crowd-"):
            time.sleep(PAUSE)

    with Sink(play=slow) as sink:
        rig = build(sink, lease=LONG_LEASE)
        rig.crew(2)
        rig.queue(5, prefix="warm")
        rig.wait_until_settled()
        account_id, blast_id = _queue_blast(rig, sink.port)

        def change(doing: Callable[[uuid.UUID], bool]) -> None:
            with rig.post.world.app.app_context(), db.account_scope(account_id):
                assert doing(blast_id)

        def left() -> dict[str, str]:
            return {to: state for to, state in rig.states_by_recipient().items() if to.startswith("crowd-")}

        @contextmanager
        def running() -> Iterator[None]:
            before = len(sink.bodies)
            change(blasts.resume)
            wait_for(lambda: len(sink.bodies) > before + 50, 30, what="the campaign to be under way")
            yield
            assert "queued" in left().values(), "the campaign ended before the events"
            stop()

        def stop() -> None:
            change(blasts.pause)
            wait_for(lambda: not {"queued", "sending", "deferred"} & set(left().values()), 120, what="the pause")

        stop()
        without, beside = _in_turns(rig, running)
        held = {to for to, state in left().items() if state == "held"}
        reconcile(
            rig, what=f"a campaign of {CROWD:,} letters and 2 workers", uncertain_at_most=0, unsettled=held,
            p95_ms=_in_ms(without, beside),
        )  # fmt: skip
        assert beside <= 2 * max(without, FLOOR)


def test_a_test_email_is_not_behind_a_campaign_of_its_own_account(build: Build) -> None:
    def slow(passing: Passing) -> None:
        if passing.point == "dot" and passing.recipient.startswith("p"):
            time.sleep(0.4)

    with Sink(play=slow) as sink:
        rig = build(sink, lease=LONG_LEASE)
        rig.queue(800)
        rig.crew(1)
        rig.start("worker", "--queue", "interactive")
        # By now the campaign has most of the connections that the server may get.
        rig.wait_for_accepted(100, 60)
        world = rig.post.world
        with world.app.app_context(), db.account_scope(world.acme.id):
            welcome = campaigns.notification_of(rig.post.campaign_id, "welcome")
            testsend.start(welcome.id, campaign_id=rig.post.campaign_id, to_address=world.owner.email)
        wait_for(lambda: world.owner.email in {one.recipient for one in sink.accepted}, 60, what="the test email")
        # It waits 4 s for a connection of its own, and then goes before all that the campaign has not yet claimed.
        assert rig.states()["queued"] > 100
