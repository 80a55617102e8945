"""The drain: one job that serves every server with something due, each in lanes of its own.

A lane is a thread with a connection and a few claimed deliveries of one route, so that a server that stalls costs only
its own account. The job runs in slices; between two of them RQ's worker gets to look after itself.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import structlog
from flask import Flask
from sqlalchemy.exc import SQLAlchemyError

from panel import db, queue
from panel.config import Settings
from panel.deliveries import claims
from panel.deliveries.carrier import Carrier
from panel.deliveries.claims import LaneKey
from panel.deliveries.heartbeat import Heartbeat
from panel.deliveries.lane import STALLED, Lane
from panel.deliveries.widths import Widths
from panel.livesteps import StepBoard
from panel.servers import service as servers

log = structlog.get_logger(__name__)

MAX_LANES: Final = 96
MAX_WAITING: Final = 64
"""Lanes that may wait for servers which say nothing, or have yet to show that they do; the rest is kept for those that
have."""

_ALL: Final = 1 << 20
_POLL: Final = 0.05
_LOOK_FOR_RESTS: Final = 0.5
_NOTHING_FOUND: Final = 0.3  # seconds until a lane where others were quicker is looked at again
_AFTER_AN_ERROR: Final = 0.5  # seconds until a database that was away is asked again
_PATIENCE: Final = 6.0  # seconds that a shutdown waits for letters in flight before it breaks them off
_FORGET: Final = 3600.0

stopping = threading.Event()
"""Set when this process is to stop: lanes finish the letter in flight and give the rest back."""


def room(*, lanes: int, waiting: int) -> tuple[int, int]:
    """How many more lanes may be started; and how many of these for servers that have yet to show that they answer.

    waiting: how many of the running ones have not shown it, or do so no longer.
    """
    more = max(0, MAX_LANES - lanes)
    return more, max(0, min(more, MAX_WAITING - waiting))


class Drain:
    """The deliveries of a worker process; its connections stay warm from job to job."""

    def __init__(self, app: Flask, settings: Settings) -> None:
        self._app = app
        self._settings = settings
        self._owner = f"worker-{uuid.uuid4()}"
        self._carrier = Carrier(settings, stopping)
        self._widths = Widths()
        self._lanes: set[Lane] = set()
        self._resting: dict[uuid.UUID, float] = {}
        self._at_limits: set[uuid.UUID] = set()
        self._looked_at = 0.0
        self._ended = threading.Semaphore(0)

    def run(self) -> None:
        """Sends until nothing is due any more, or a slice is over and no lane is waiting for its server."""
        with Heartbeat(self._renew, self._settings.tuning.lease):
            self._start_and_collect()
            while not self._finish():
                self._start_and_collect()
        self._widths.forget(idle=_FORGET)
        if not stopping.is_set() and self._something_due():
            queue.ring_delivery()

    def _start_and_collect(self) -> None:
        end = time.monotonic() + self._settings.tuning.slice
        while not stopping.is_set():
            over = time.monotonic() > end
            if over and any(lane.stalled for lane in self._lanes):
                # Ending now would let every account wait for one server.
                end, over = time.monotonic() + self._settings.tuning.slice, False
            if over:
                return
            try:
                started = self._start_lanes()
            except SQLAlchemyError as error:
                # The lanes that run go on, and need the heartbeat; whether anything is due is looked at again.
                log.warning("the database is away; no lanes are started", error=type(error).__name__)
                self._collect(_AFTER_AN_ERROR)
                continue
            if not self._lanes and not self._resting:
                return
            if not started:
                self._collect(_POLL)

    def close(self) -> None:
        """Says goodbye to the servers."""
        self._carrier.warm.close()
        self._carrier.recorder.close()

    def send_one(self, delivery_id: int, board: StepBoard) -> bool:
        """Sends this delivery now, telling `board`; False when it is not waiting or another worker has it.

        In the account's scope.
        """
        lease = self._settings.tuning.lease
        claimed = claims.claim_one(delivery_id, owner=self._owner, lease=lease)
        if claimed is None:
            return False
        with Heartbeat(lambda: self._renew([delivery_id]), lease), self._broken_off_by_a_shutdown():
            self._carrier.carry(LaneKey(db.account_id(), claimed.address_id), claimed, board)
        return True

    @contextmanager
    def _broken_off_by_a_shutdown(self) -> Iterator[None]:
        """What is talked about in here goes on for _PATIENCE once the process is to stop."""
        over = threading.Event()

        def watch() -> None:
            while not (over.wait(_POLL) or stopping.is_set()):
                pass
            while not over.wait(_PATIENCE):
                log.warning("breaking off a letter in flight")
                self._carrier.abort()

        threading.Thread(target=watch, name="shutdown", daemon=True).start()
        try:
            yield
        finally:
            over.set()

    def _start_lanes(self) -> int:
        self._forget_ended()
        more, unknown = self._room()
        now = time.monotonic()
        self._resting = {lane: until for lane, until in self._resting.items() if until > now}
        running = {lane.key.lane: lane for lane in self._lanes}
        busy = {key for key, lane in running.items() if lane.full} | self._resting.keys()
        with db.system_scope("a worker looks which lanes have something due"):
            if now > self._looked_at + _LOOK_FOR_RESTS:
                self._at_limits, self._looked_at = set(servers.resting()), now
            # Where only those may start that have shown it, they can stand anywhere in the line.
            limit = more + len(running) if unknown else _ALL
            keys = claims.lanes_due(busy=busy | self._at_limits, limit=limit)
        started = 0
        for key in keys:
            answers = self._widths.answers(key.lane)
            if key.lane in running:
                running[key.lane].nudge()
            elif started < more and (answers or unknown):
                self._start(key)
                started += 1
                unknown -= not answers
        return started

    def _room(self) -> tuple[int, int]:
        for lane in self._lanes:
            if lane.stalled:
                self._widths.stalled(lane.key.lane)
        return room(
            lanes=len(self._lanes), waiting=sum(not self._widths.answers(lane.key.lane) for lane in self._lanes)
        )

    def _start(self, key: LaneKey) -> None:
        lane = Lane(self._app, self._carrier, self._widths, key, owner=self._owner, ended=self._ended)
        self._lanes.add(lane)
        lane.start()

    def _collect(self, wait: float) -> None:
        """Waits until a lane has ended, or for so many seconds."""
        self._ended.acquire(timeout=wait)
        self._forget_ended()

    def _forget_ended(self) -> None:
        for lane in [lane for lane in self._lanes if lane.over]:
            self._lanes.discard(lane)
            rest = max(lane.rest, 0.0 if lane.found else _NOTHING_FOUND)
            if rest:
                self._resting[lane.key.lane] = time.monotonic() + rest

    def _finish(self) -> bool:
        """Asks all lanes to end. Whether they have: where one waits for its server, the others' accounts do not."""
        for lane in self._lanes:
            lane.end()
        until = time.monotonic() + STALLED
        while self._lanes and not stopping.is_set() and time.monotonic() < until:
            self._collect(_POLL)
        if stopping.is_set():
            self._shut_down()
        return not self._lanes

    def _shut_down(self) -> None:
        deadline = time.monotonic() + _PATIENCE
        while self._lanes:
            self._collect(_POLL)
            if time.monotonic() > deadline:
                log.warning("breaking off letters in flight", lanes=len(self._lanes))
                self._carrier.abort()
                deadline = time.monotonic() + _PATIENCE

    def _renew(self, some: list[int] | None = None) -> None:
        self._carrier.keep_slots()
        held = some or [one for lane in list(self._lanes) for one in lane.holds()]
        if held:
            with db.system_scope("a worker renews its leases"):
                claims.renew(held, owner=self._owner, lease=self._settings.tuning.lease)

    @staticmethod
    def _something_due() -> bool:
        try:
            with db.system_scope("a worker looks whether to ring again"):
                return bool(claims.lanes_due(busy=servers.resting().keys(), limit=1))
        except SQLAlchemyError as error:
            log.warning("the database is away; nobody knows whether something is due", error=type(error).__name__)
            return True
