"""Mail servers that are busy, away, wary or tired: what was queued waits, and goes out once."""

from __future__ import annotations

import threading
from collections import Counter

import pytest
from sqlalchemy import select

from panel import db
from panel.outbox.models import Attempt, Delivery
from tests.faults.conftest import Build
from tests.faults.driver import LETTERS, LONG_LEASE, Rig
from tests.faults.reconcile import reconcile
from tests.faults.sink import BlackHole, HangUp, Passing, Sink
from tests.support.ports import free_port
from tests.support.wait import wait_for

pytestmark = pytest.mark.timeout(600)

GREYLISTED = "450 4.2.0 <{}>: Recipient address rejected: Greylisted, see http://postgrey.schweikert.ch/help/acme.html"
DAILY_LIMIT = "550 5.4.5 Daily user sending limit exceeded. For more information on Gmail sending limits go to 5.4.5"


def _spent() -> Counter[int]:
    """How many deliveries have spent how many attempts."""
    with db.system_scope("tests") as session:
        found = session.scalars(
            select(Delivery.attempts).where(Delivery.kind != "system", Delivery.state != "canceled")
        )
        return Counter(found)


def _wait_until_held(rig: Rig, count: int, timeout: float = 30) -> None:
    """Waits until the server rests and so many deliveries wait for it."""

    def held() -> bool:
        states = rig.states()
        return rig.server().state == "paused" and states["held"] + states["deferred"] == count

    wait_for(held, timeout, what=f"{count} deliveries to be held")


def test_a_server_that_says_421_now_and_then(build: Build) -> None:
    def busy(passing: Passing) -> str | None:
        # The first letter goes through: a new server has to show that it works before it gets many connections.
        refused = passing.point == "mail" and passing.letter > 1 and passing.count % 9 == 0
        return "421 4.3.2 too busy, come back later" if refused else None

    with Sink(play=busy) as sink:
        rig = build(sink, lease=LONG_LEASE)
        rig.queue()
        rig.crew()
        rig.wait_until_settled(time_passes=True)
        assert rig.states() == {"sent": LETTERS}
        reconcile(rig, what="421 to every ninth MAIL", uncertain_at_most=0)


@pytest.mark.parametrize("pipelining", [True, False], ids=["pipelined", "stepwise"])
def test_a_server_that_hangs_up_after_every_fifty_letters(build: Build, pipelining: bool) -> None:
    ends: list[int] = []

    def tired(passing: Passing) -> str | None:
        if passing.point == "replied" and passing.count % 50 == 0:
            ends.append(passing.connection)
            raise HangUp
        return None

    with Sink(play=tired, pipelining=pipelining) as sink:
        rig = build(sink, lease=LONG_LEASE)
        rig.queue(LETTERS + 50)
        rig.crew(2)
        # That a connection ends between two letters says nothing of either: nobody waits for it.
        rig.wait_until_settled(90)
        assert rig.states() == {"sent": LETTERS + 50}
        assert len(ends) == LETTERS // 50 + 1
        assert rig.letters_to_owner() == []
        what = "a server that hangs up every 50 letters, " + ("pipelined" if pipelining else "stepwise")
        reconcile(rig, what=what, uncertain_at_most=0)


def test_a_server_that_refuses_connections_and_comes_back(build: Build) -> None:
    with Sink(port=free_port()) as gone:
        pass
    rig = build(gone, lease=LONG_LEASE)
    rig.queue()
    rig.crew()
    _wait_until_held(rig, LETTERS)
    assert _spent() == {0: LETTERS}
    with Sink(port=gone.port) as sink:
        rig.sink = sink
        rig.wait_until_settled(time_passes=True)
        assert rig.states() == {"sent": LETTERS}
        assert len(rig.letters_to_owner()) == 1
        reconcile(rig, what="connections refused, then taken", uncertain_at_most=0)


def test_a_server_that_is_a_black_hole_and_comes_back(build: Build) -> None:
    with BlackHole() as hole:
        with Sink(port=0) as unused:
            pass
        unused.port = hole.port
        rig = build(unused, lease=LONG_LEASE)
        rig.environ["OWNPOST_CONNECT_SECONDS"] = "1"
        rig.queue()
        rig.crew()
        _wait_until_held(rig, LETTERS)
        assert _spent() == {0: LETTERS}
    with Sink(port=hole.port) as sink:
        rig.sink = sink
        rig.wait_until_settled(time_passes=True)
        assert rig.states() == {"sent": LETTERS}
        assert len(rig.letters_to_owner()) == 1
        reconcile(rig, what="a black hole that becomes a server", uncertain_at_most=0)


def test_a_server_that_rests_is_probed_once_for_each_rest(build: Build) -> None:
    with Sink(play=lambda passing: "421 4.3.2 closed for now" if passing.point == "connect" else None) as sink:
        rig = build(sink, lease=LONG_LEASE)
        rig.queue()
        rig.crew()
        _wait_until_held(rig, LETTERS)
        for _ in range(3):
            # What was deferred is due again before the rest is over, and is held then with the others.
            rig.pass_time(rests=False)
            wait_for(lambda: rig.states() == {"held": LETTERS}, 20, what="all to be held")
            before = sink.connections
            rig.pass_time()
            wait_for(lambda before=before: sink.connections > before, 20, what="a probe")
            _wait_until_held(rig, LETTERS)
            assert sink.connections == before + 1
        sink.play = lambda _passing: None
        rig.wait_until_settled(time_passes=True)
        assert rig.states() == {"sent": LETTERS}
        assert len(rig.letters_to_owner()) == 1
        reconcile(rig, what="421 to every connection, probed three times", uncertain_at_most=0)


def test_greylisting(build: Build) -> None:
    lock = threading.Lock()
    seen: Counter[str] = Counter()

    def wary(passing: Passing) -> str | None:
        if passing.point != "rcpt":
            return None
        with lock:
            seen[passing.recipient] += 1
            return GREYLISTED.format(passing.recipient) if seen[passing.recipient] == 1 else None

    with Sink(play=wary) as sink:
        rig = build(sink, lease=LONG_LEASE)
        rig.queue()
        rig.crew()
        wait_for(lambda: rig.states() == {"deferred": LETTERS}, 55, what="all to be deferred")
        assert rig.server().state == "ready"
        rig.wait_until_settled(time_passes=True)
        assert rig.states() == {"sent": LETTERS}
        assert _spent() == {2: LETTERS}
        with db.system_scope("tests") as session:
            outcomes = Counter(session.scalars(select(Attempt.outcome)))
        assert outcomes == {"deferred": LETTERS, "sent": LETTERS}
        reconcile(rig, what="greylisting", uncertain_at_most=0)


def test_a_daily_limit_fails_nobody(build: Build) -> None:
    used_up = threading.Event()

    def limited(passing: Passing) -> str | None:
        if passing.point == "dot" and passing.count > 100:
            used_up.set()
        return DAILY_LIMIT if passing.point == "dot" and (passing.count > 100 or used_up.is_set()) else None

    with Sink(play=limited) as sink:
        rig = build(sink, lease=LONG_LEASE)
        rig.queue()
        rig.crew()
        wait_for(lambda: rig.server().paused_reason == "quota", 30, what="the pause")
        wait_for(lambda: rig.states() == {"sent": 100, "held": LETTERS - 100}, 30, what="all others to be held")
        assert len(sink.accepted) == 100
        assert rig.server().paused_until is not None
        # It is asked again only when the limit may have been renewed: not by the next ticks.
        asked = sink.passed("mail")
        rig.go_on(1.0)
        assert sink.passed("mail") == asked
        sink.play = lambda _passing: None
        rig.wait_until_settled(time_passes=True)
        assert rig.states() == {"sent": LETTERS}
        # Nothing is wrong with a server whose limit is used up: the banner says so, and no alarm goes out.
        assert rig.letters_to_owner() == []
        reconcile(rig, what="a daily limit", uncertain_at_most=0)
