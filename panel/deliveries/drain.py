"""The drain: one job that serves every server with something due, each in lanes of its own.

A lane is a thread with a few claimed deliveries of one route, so that a server that stalls costs only its own account.
The job runs in slices; between two of them RQ's worker gets to look after itself.
"""

from __future__ import annotations

import queue as queues
import threading
import time
import uuid
from collections import Counter

import structlog
from flask import Flask
from sqlalchemy.exc import SQLAlchemyError

from panel import db, queue
from panel.config import Settings
from panel.deliveries import claims
from panel.deliveries.carrier import Carrier, Heartbeat
from panel.deliveries.claims import Claim, LaneKey
from panel.livesteps import StepBoard
from panel.outbox import service as outbox

log = structlog.get_logger(__name__)

MAX_LANES = 24
LANES_PER_ROUTE = 2
BATCH = 10
"""Deliveries that a lane claims at once. Few, so that other workers get their share and little waits for a stall."""

_POLL = 0.1
_AFTER_A_FAULT = 300.0  # seconds until a delivery that a fault of ours kept from being sent is tried again
_STALLED = 3.0  # seconds after which a lane that talks about one letter is waiting for its server
_PATIENCE = 6.0  # seconds that a shutdown waits for letters in flight before it breaks them off

stopping = threading.Event()
"""Set when this process is to stop: lanes finish the letter in flight and give the rest back."""


class Drain:
    """The deliveries of a worker process; its connections stay warm from job to job."""

    def __init__(self, app: Flask, settings: Settings) -> None:
        self._app = app
        self._settings = settings
        self._owner = f"worker-{uuid.uuid4()}"
        self._carrier = Carrier(settings)
        self._lanes: set[_Lane] = set()
        self._done: queues.SimpleQueue[_Lane] = queues.SimpleQueue()

    def run(self) -> None:
        """Sends until nothing is due any more, or the slice is over and no lane is waiting for its server."""
        end = time.monotonic() + self._settings.tuning.slice
        lease = self._settings.tuning.lease
        with Heartbeat(self._renew, lease):
            while not stopping.is_set():
                over = time.monotonic() > end
                if over and any(lane.stalled for lane in self._lanes):
                    # Ending now would let every account wait for one server.
                    end, over = time.monotonic() + self._settings.tuning.slice, False
                started = 0 if over else self._start_lanes()
                if not self._lanes:
                    break
                if not started:
                    self._collect(_POLL)
            self._finish()
        if not stopping.is_set() and self._something_due():
            queue.ring_delivery()

    def close(self) -> None:
        """Says goodbye to the servers."""
        self._carrier.warm.close()

    def send_one(self, delivery_id: int, board: StepBoard) -> bool:
        """Sends this delivery now, telling `board`; False when it is not waiting or another worker has it."""
        lease = self._settings.tuning.lease
        with db.system_scope("a worker claims a test send"):
            claim = claims.claim_one(delivery_id, owner=self._owner, lease=lease)
        if claim is None:
            return False
        with Heartbeat(lambda: self._renew(claim), lease):
            self._carrier.carry(claim, board)
        return True

    def _start_lanes(self) -> int:
        room = MAX_LANES - len(self._lanes)
        if room <= 0:
            return 0
        lanes = Counter(lane.key for lane in self._lanes)
        busy = [key for key, count in lanes.items() if count >= LANES_PER_ROUTE]
        started = 0
        with db.system_scope("a worker claims what is due"):
            for key in claims.lanes_due(busy=busy, limit=room):
                claimed = claims.claim(key, owner=self._owner, limit=BATCH, lease=self._settings.tuning.lease)
                if claimed:
                    self._start(key, claimed)
                    started += 1
        return started

    def _start(self, key: LaneKey, claimed: list[Claim]) -> None:
        lane = _Lane(self._app, self._carrier, key, claimed, self._done)
        self._lanes.add(lane)
        lane.start()

    def _collect(self, wait: float) -> None:
        try:
            self._lanes.discard(self._done.get(timeout=wait))
        except queues.Empty:
            return

    def _finish(self) -> None:
        deadline = time.monotonic() + _PATIENCE
        while self._lanes:
            self._collect(_POLL)
            if stopping.is_set() and time.monotonic() > deadline:
                log.warning("breaking off letters in flight", lanes=len(self._lanes))
                self._carrier.abort()
                deadline = time.monotonic() + _PATIENCE

    def _renew(self, single: Claim | None = None) -> None:
        held = [single.delivery_id] if single else [one for lane in list(self._lanes) for one in lane.holds()]
        if held:
            with db.system_scope("a worker renews its leases"):
                claims.renew(held, owner=self._owner, lease=self._settings.tuning.lease)

    @staticmethod
    def _something_due() -> bool:
        with db.system_scope("a worker looks whether to ring again"):
            return bool(claims.lanes_due(busy=(), limit=1))


class _Lane(threading.Thread):
    """Carries its claims one after another."""

    def __init__(
        self, app: Flask, carrier: Carrier, key: LaneKey, claimed: list[Claim], done: queues.SimpleQueue[_Lane]
    ) -> None:
        super().__init__(name="lane", daemon=True)
        self.key = key
        self._app = app
        self._carrier = carrier
        self._claimed = claimed
        self._done = done
        self._since = time.monotonic()
        self._current: Claim | None = None

    def holds(self) -> list[int]:
        """The deliveries whose leases it needs. One that failed under it is not among them: its lease lapses."""
        current = self._current
        return [claim.delivery_id for claim in (*self._claimed, *((current,) if current else ()))]

    @property
    def stalled(self) -> bool:
        """Whether it has been at the same letter for long."""
        return time.monotonic() - self._since > _STALLED

    def run(self) -> None:
        try:
            with self._app.app_context():
                while self._claimed and not stopping.is_set():
                    self._since = time.monotonic()
                    self._current = self._claimed[0]
                    del self._claimed[0]
                    self._carry(self._current)
        finally:
            self._current = None
            self._give_back()
            self._done.put(self)

    def _carry(self, claim: Claim) -> None:
        try:
            self._carrier.carry(claim)
        except Exception:
            # A fault of ours. If the letter's body may have begun to flow, the lapsing lease makes it `uncertain`.
            log.exception("a delivery could not be carried", delivery=claim.delivery_id)
            put_off(claim)

    def _give_back(self) -> None:
        try:
            with db.system_scope("a lane gives back what it did not begin"):
                claims.release(self._claimed)
        except Exception as error:  # noqa: BLE001 - the leases lapse by themselves
            log.warning("claims not given back", error=type(error).__name__)


def put_off(claim: Claim) -> None:
    """Keeps a delivery that makes us fail from being tried over and over: it waits like after a refusal."""
    try:
        with db.account_scope(claim.account_id):
            outbox.put_off(claim.delivery_id, fence=claim.fence, reason="internal_error", wait=_AFTER_A_FAULT)
    except SQLAlchemyError as error:
        log.warning("a delivery waits for its lease to lapse", error=type(error).__name__)
