"""The drain: one job that serves every server with something due, each in lanes of its own.

A lane is a thread with a connection and a few claimed deliveries of one route, so that a server that stalls costs only
its own account. The job runs in slices; between two of them RQ's worker gets to look after itself.
"""

from __future__ import annotations

import random
import threading
import time
import uuid
import weakref
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Final

import structlog
from flask import Flask
from sqlalchemy.exc import SQLAlchemyError

from panel import db, queue
from panel.config import Settings
from panel.deliveries import claims, probing
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
_POLL_FOR_NEW: Final = 0.25  # seconds, while no lane is sending: what is new rings
_LOOKS: Final = 0.02  # seconds between two looks, however often it rings
_LOOK_FOR_RESTS: Final = 0.5
_NOTHING_FOUND: Final = 0.3  # seconds until a lane where others were quicker is looked at again
_TRY_AFTER: Final = 0.5  # seconds after which a server in trouble is tried however much else there is to do
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
        self._last_look = 0.0
        self._left_to_try = False
        self._tried_at = 0.0
        self._news = threading.Event()
        self._ear: queue.Ear | None = None

    def run(self) -> None:
        """Sends until nothing is due any more, or a slice is over and no lane is waiting for its server."""
        if self._ear is None:
            self._ear = queue.Ear(self._news.set)
            weakref.finalize(self, self._ear.end)
            self._ear.start()
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
                self._start_lanes()
            except SQLAlchemyError as error:
                # The lanes that run go on, and need the heartbeat; whether anything is due is looked at again.
                log.warning("the database is away; no lanes are started", error=type(error).__name__)
                self._collect(_AFTER_AN_ERROR)
                continue
            if not self._lanes and not self._resting:
                return
            self._collect(self._until_next_look())

    def close(self) -> None:
        """Says goodbye to the servers."""
        if self._ear is not None:
            self._ear.end()
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

    def _start_lanes(self) -> None:
        self._forget_ended()
        more, unknown = self._room()
        now = self._last_look = time.monotonic()
        self._resting = {lane: until for lane, until in self._resting.items() if until > now}
        running = {lane.key.lane: lane for lane in self._lanes}
        busy = {key for key, lane in running.items() if lane.full} | self._resting.keys()
        with db.system_scope("a worker looks which lanes have something due"):
            if now > self._looked_at + _LOOK_FOR_RESTS:
                self._at_limits, self._looked_at = set(servers.resting()), now
            # Where only those may start that have shown it, they can stand anywhere in the line.
            limit = more + len(running) if unknown else _ALL
            keys = claims.lanes_due(busy=busy | self._at_limits, limit=limit)
            trouble = self._in_trouble(keys, running)
            if trouble and len(keys) == limit:
                # So can those who work, here.
                keys = claims.lanes_due(busy=busy | self._at_limits, limit=_ALL)
                trouble = self._in_trouble(keys, running)
            keys = self._without_trouble(keys, trouble, running)
        started = 0
        for key in keys:
            answers = self._widths.answers(key.lane)
            if key.lane in running:
                running[key.lane].nudge()
            elif started < more and (answers or unknown):
                self._start(key)
                started += 1
                unknown -= not answers
                if key.lane in trouble:
                    self._tried_at = now

    def _in_trouble(self, keys: list[LaneKey], running: Collection[uuid.UUID]) -> dict[uuid.UUID, bool]:
        """Those of these lanes whose server was in trouble, and whether somebody is trying it. In a system scope."""
        strange = {key.lane for key in keys if key.lane not in running and not self._widths.answers(key.lane)}
        return probing.to_try(strange) if strange else {}

    def _without_trouble(
        self, keys: list[LaneKey], trouble: dict[uuid.UUID, bool], running: Collection[uuid.UUID]
    ) -> list[LaneKey]:
        """These lanes without those in trouble, but for one of them where no other lane is to be started, or has been
        for a while: so many of them at once keep nobody waiting.

        It is any one that nobody tries yet, so that workers do not all come to the same.
        """
        works, to_try = list[LaneKey](), list[LaneKey]()
        for key in keys:
            if key.system or key.lane in running or key.lane not in trouble:
                works.append(key)
            elif trouble[key.lane]:
                self._resting[key.lane] = time.monotonic() + _NOTHING_FOUND
            else:
                to_try.append(key)
        self._left_to_try = len(to_try) > 1
        if not to_try:
            return works
        one = random.choice(to_try)  # noqa: S311 - no secret
        if time.monotonic() > self._tried_at + _TRY_AFTER:
            return [one, *works]
        busy = any(key.lane not in running for key in works) or any(lane.opening for lane in self._lanes)
        return works if busy else [*works, one]

    def _room(self) -> tuple[int, int]:
        for lane in self._lanes:
            if lane.stalled:
                self._widths.stalled(lane.key.lane)
        return room(
            lanes=len(self._lanes), waiting=sum(not self._widths.answers(lane.key.lane) for lane in self._lanes)
        )

    def _start(self, key: LaneKey) -> None:
        lane = Lane(self._app, self._carrier, self._widths, key, owner=self._owner, news=self._news)
        self._lanes.add(lane)
        lane.start()

    def _collect(self, wait: float) -> None:
        """Waits until a lane has ended or somebody has rung, or for so many seconds."""
        self._news.wait(wait)
        self._news.clear()
        if (early := self._last_look + _LOOKS - time.monotonic()) > 0:
            time.sleep(early)
        self._forget_ended()

    def _until_next_look(self) -> float:
        """Seconds until it is looked for what is due though nothing has rung."""
        if self._left_to_try or any(self._widths.answers(lane.key.lane) for lane in self._lanes):
            return _POLL
        return max(_LOOKS, min([_POLL_FOR_NEW, *(until - time.monotonic() for until in self._resting.values())]))

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
