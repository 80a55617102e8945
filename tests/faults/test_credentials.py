"""A wrong password, one that stops working, and one that can no longer be read: nobody locks the owner out."""

from __future__ import annotations

import signal
import threading
import urllib.request

import pytest

from panel.crypto import new_key
from tests.faults.conftest import Build
from tests.faults.driver import LETTERS, LONG_LEASE, Rig
from tests.faults.reconcile import reconcile
from tests.faults.sink import USER, HangUp, Passing, Sink
from tests.support.ports import free_port
from tests.support.wait import wait_for

pytestmark = pytest.mark.timeout(600)

MOST_TRIES = 3
"""AUTHs with a stored password that does not work, over all workers."""


def _use(rig: Rig, password: str) -> None:
    rig.post.use(rig.sink.port, username=USER, password=password)


def _wait_until_all_wait(rig: Rig, count: int) -> None:
    wait_for(lambda: rig.server().paused_reason == "credentials", 30, what="the pause")
    wait_for(lambda: rig.states()["held"] == count, 30, what="all to be held")


def _wrong(sink: Sink) -> int:
    return sum(not one.right for one in sink.sign_ins)


def test_a_wrong_password_is_tried_at_most_three_times_however_much_is_queued(build: Build) -> None:
    with Sink(password="right horse") as sink:
        rig = build(sink, lease=LONG_LEASE)
        _use(rig, "wrong horse")
        rig.queue()
        rig.crew()
        _wait_until_all_wait(rig, LETTERS)
        # However often the ticker comes round, and however much more is queued.
        rig.queue(20, prefix="late")
        rig.pass_time()
        rig.go_on(1.5)
        assert 1 <= _wrong(sink) <= MOST_TRIES
        # One connection at a time until the first success.
        assert sink.most_open == 1
        assert len(rig.letters_to_owner()) == 1
        _use(rig, "right horse")
        rig.wait_until_settled()
        assert rig.states() == {"sent": LETTERS + 20}
        assert _wrong(sink) <= MOST_TRIES
        assert len(rig.letters_to_owner()) == 1
        reconcile(rig, what="a wrong password, then the right one", uncertain_at_most=0, wrong_auths=_wrong(sink))


def test_until_the_first_success_there_is_one_connection_at_a_time(build: Build) -> None:
    with Sink(password="right horse") as sink:
        sink.play = _SlowFirst(sink).play
        rig = build(sink, lease=LONG_LEASE)
        _use(rig, "right horse")
        rig.queue()
        rig.crew()
        rig.wait_until_settled()
        assert rig.states() == {"sent": LETTERS}
        first, *others = sorted(sink.sign_ins, key=lambda one: one.at)
        assert others
        # The first was answered half a second late, and nobody else had come by then.
        assert all(later.at - first.at >= 0.5 for later in others)
        reconcile(rig, what="a right password: one connection until the first success", uncertain_at_most=0)


class _SlowFirst:
    """Answers the first AUTH half a second late."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    def play(self, passing: Passing) -> str | None:
        if passing.point == "auth" and passing.count == 1:
            threading.Event().wait(0.5)
        return None


def test_a_password_that_stops_working_is_tried_at_most_three_times(build: Build) -> None:
    changed = threading.Event()

    def change(passing: Passing) -> str | None:
        if passing.point == "mail" and passing.count > 80:
            changed.set()
            sink.password = "changed horse"
        if changed.is_set() and passing.point == "mail" and passing.letter > 1:
            raise HangUp
        return None

    with Sink(password="right horse", play=change) as sink:
        rig = build(sink, lease=LONG_LEASE)
        _use(rig, "right horse")
        rig.queue()
        rig.crew()
        wait_for(changed.is_set, 30, what="the change")
        wait_for(lambda: rig.server().paused_reason == "credentials", 30, what="the pause")
        rig.pass_time()
        rig.go_on(1.5)
        assert 1 <= _wrong(sink) <= MOST_TRIES
        assert len(rig.letters_to_owner()) == 1
        sink.play = lambda _passing: None
        _use(rig, "changed horse")
        rig.wait_until_settled(time_passes=True)
        assert rig.states() == {"sent": LETTERS}
        assert _wrong(sink) <= MOST_TRIES
        reconcile(rig, what="a password that stops working", uncertain_at_most=0, wrong_auths=_wrong(sink))


def test_a_worker_killed_while_it_signs_in_blocks_nobody_for_ever(build: Build) -> None:
    with Sink(password="wanted horse") as sink:
        rig = build(sink)
        _use(rig, "wrong horse")
        killed: list[str] = []

        def kill(passing: Passing) -> str | None:
            if passing.point == "auth" and not killed:
                killed.append(passing.worker)
                rig.kill(rig.named(passing.worker))
            return None

        sink.play = kill
        rig.queue(20)
        rig.crew(2)
        wait_for(lambda: killed, 30, what="an AUTH")
        # The open try counts as one until it is forgotten after two minutes; a new password starts anew at once.
        _use(rig, "wanted horse")
        rig.wait_until_settled(30)
        assert rig.states() == {"sent": 20}
        assert _wrong(sink) <= MOST_TRIES
        reconcile(rig, what="kill -9 in the middle of AUTH", uncertain_at_most=0)


def test_a_missing_encryption_key_holds_what_is_due_until_the_password_is_entered_again(build: Build) -> None:
    with Sink(password="right horse") as sink:
        rig = build(sink, lease=LONG_LEASE)
        _use(rig, "right horse")
        rig.queue(40)
        rig.environ["OWNPOST_ENCRYPTION_KEYS"] = new_key()
        web = free_port()
        rig.start("web", "--port", str(web))
        rig.crew(2)
        wait_for(lambda: rig.states() == {"held": 40}, 30, what="all to be held")
        wait_for(lambda: _answers(f"http://127.0.0.1:{web}/healthz"), 20, what="the panel")
        assert sink.sign_ins == []
        assert len(rig.letters_to_owner()) == 1
        world = rig.post.world
        world.reconfigure(OWNPOST_ENCRYPTION_KEYS=rig.environ["OWNPOST_ENCRYPTION_KEYS"])
        page = world.client(world.owner).get(f"/settings/email/{rig.post.address_id}/server").get_data(as_text=True)
        assert "password" in page.lower()
        assert "enter it again" in page.lower() or "enter the password again" in page.lower()
        _use(rig, "right horse")
        rig.wait_until_settled(time_passes=True)
        assert rig.states() == {"sent": 40}
        reconcile(rig, what="a missing encryption key", uncertain_at_most=0)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def test_keys_are_rotated_while_workers_send(build: Build) -> None:
    with Sink(password="right horse") as sink:
        rig = build(sink, lease=LONG_LEASE)
        _use(rig, "right horse")
        old = rig.post.world.environ["OWNPOST_ENCRYPTION_KEYS"]
        new = new_key()
        rig.environ["OWNPOST_ENCRYPTION_KEYS"] = f"{new},{old}"
        sealed, version = rig.server().password_sealed, rig.server().version
        rotated = threading.Event()

        def connect_anew(passing: Passing) -> str | None:
            # Each connection is for a few letters, so that the password is read again and again.
            if passing.point == "mail" and passing.letter > 3:
                raise HangUp
            if passing.point == "mail" and passing.count > 60 and not rotated.is_set():
                rotated.wait(20)
            return None

        sink.play = connect_anew
        rig.queue()
        rig.crew()
        rig.wait_for_accepted(40)
        rotation = rig.start("key", "rotate")
        assert rotation.wait(30) == 0
        rotated.set()
        rig.wait_until_settled(time_passes=True)
        assert rig.states() == {"sent": LETTERS}
        assert _wrong(sink) == 0
        server = rig.server()
        assert server.password_sealed != sealed
        assert str(server.password_sealed).startswith(f"v1.{new.partition(':')[0]}.")
        assert server.version == version
        # The old key is not needed any more.
        rig.environ["OWNPOST_ENCRYPTION_KEYS"] = new
        for process in rig.workers():
            process.signal(signal.SIGTERM)
            process.wait(20)
        rig.queue(5, prefix="later")
        rig.worker()
        rig.wait_until_settled(time_passes=True)
        assert rig.states() == {"sent": LETTERS + 5}
        reconcile(rig, what="keys rotated while workers send", uncertain_at_most=0)
