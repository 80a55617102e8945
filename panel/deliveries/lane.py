"""A lane: one thread, which takes the deliveries of one route over as many connections as its server likes.

The connections run by turns (`hub.py`), and share what the lane has claimed.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Hashable, Iterable
from typing import Final

import structlog
from flask import Flask
from sqlalchemy.exc import OperationalError

from panel import db
from panel.deliveries import claims, parcels, probing, record
from panel.deliveries.allowance import lane_route
from panel.deliveries.carrier import Carrier, connection_key
from panel.deliveries.claims import Claim, Claimed, LaneKey
from panel.deliveries.hub import Hub
from panel.deliveries.line import NOT_NOW, Line
from panel.deliveries.parcels import Parcel
from panel.deliveries.widths import Widths
from panel.servers.service import Route

log = structlog.get_logger(__name__)

FEWEST: Final = 10
MOST: Final = 300
_SECONDS: Final = 1.0  # of sending, that a batch is to last
_AHEAD: Final = 60  # letters at most that are claimed while all connections wait, which takes less than a round trip
_SOON: Final = 0.1  # of a batch: with less than that ready, the next one is claimed ahead
_NO_WIDER: Final = 0.25  # seconds until one more connection is tried again to a server that has all it may have
FRESH: Final = 2.0  # seconds after which what a lane has ready is looked at again before it is sent
STALLED: Final = 3.0  # seconds without a reply after which a lane is waiting for its server


class Lane(threading.Thread):
    """Claims, sends and records until nothing is due, its server is in trouble, or it is asked to end."""

    def __init__(
        self,
        app: Flask,
        carrier: Carrier,
        widths: Widths,
        key: LaneKey,
        *,
        owner: str,
        news: threading.Event,
    ) -> None:
        super().__init__(name="lane", daemon=True)
        self.key = key
        self.carrier = carrier
        self.rest = 0.0  # seconds that the lane should not be started again for
        self.found = False  # whether there was anything to claim
        self.over = False
        self._app = app
        self._widths = widths
        self._owner = owner
        self._news = news
        self._ending = threading.Event()
        self._nudged = False
        self._lines: set[Line] = set()
        self._ready: deque[Parcel] = deque()
        self._held: dict[int, Claim] = {}
        self._batch = FEWEST
        self._more_is_due = False  # as far as the last claim could tell
        self._no_wider_until = 0.0
        self._claimed = 0
        self._claimed_at = 0.0
        self._screened_at = 0.0
        self._since = time.monotonic()
        self._troubled = False
        self._failing = True  # its server, for all that the lane knows yet

    # -- what other threads may ask -----------------------------------------------------------------------------------

    def holds(self) -> list[int]:
        """The deliveries whose leases it needs."""
        return list(self._held)

    @property
    def stalled(self) -> bool:
        """Whether no server has said anything for long."""
        return time.monotonic() - self._since > STALLED

    @property
    def opening(self) -> bool:
        """Whether it has yet to claim something, or to find out that it cannot."""
        return not (self.over or self._claimed_at)

    @property
    def full(self) -> bool:
        """Whether it has all the connections that it may have."""
        return len(self._lines) >= self._widths.allowed(self.key.lane)

    def nudge(self) -> None:
        """Tells it that there is more than its connections have taken up."""
        self._nudged = True

    def end(self) -> None:
        """Asks it to end after the letters in flight."""
        self._ending.set()

    # -- the thread ---------------------------------------------------------------------------------------------------

    def run(self) -> None:
        try:
            with self._app.app_context():
                self.hub = Hub(commit=self.carrier.recorder.commit, meanwhile=self._widen, ahead=self._claim_ahead)
                self._add_line()
                self.hub.run()
        except Exception:
            log.exception("a lane broke", lane=str(self.key.lane))
            self.rest = NOT_NOW
        finally:
            self._give_back()
            self.over = True
            self._news.set()

    def _add_line(self) -> None:
        line = Line(self)
        self._lines.add(line)
        self.hub.start(line.run)

    def _widen(self) -> None:
        """Adds a connection where there is work for it."""
        if time.monotonic() < self._no_wider_until:
            return
        if (self._ready or self._nudged) and not self.full and not self._troubled and not self._ending.is_set():
            self._nudged = False
            self._add_line()

    def _give_back(self) -> None:
        try:
            with self._app.app_context(), db.account_scope(self.key.account_id):
                for parcel in self._ready:
                    if parcel.begun:
                        record.abandoned(parcel.claim)
                parcels.give_back(self._ready, wait=self.rest)
        except Exception as error:  # noqa: BLE001 - the leases lapse by themselves
            log.warning("claims not given back", error=type(error).__name__)
        self._held.clear()

    # -- for its lines ------------------------------------------------------------------------------------------------

    def more(self, connection: Hashable = None) -> bool:
        """Whether there is a letter to send (by this connection, if one is given); claims a batch when none is left."""
        self._screen_again()
        while not self._ready and not self._troubled and not self._ending.is_set():
            if not self._claim():
                return False
        if not self._ready or self._troubled or self._ending.is_set():
            return False
        return connection is None or connection_key(self._ready[0].route) == connection

    def next(self) -> Parcel:
        """The next letter; ask `more` first."""
        return self._ready.popleft()

    def put_back(self, some: Iterable[Parcel]) -> None:
        """These were not sent and are the next."""
        self._ready.extendleft(reversed(list(some)))

    def progress(self) -> None:
        """A server has said something."""
        self._since = time.monotonic()

    def accepted(self, some: Iterable[Parcel]) -> None:
        """These were accepted, and that is recorded."""
        knew = self._widths.answers(self.key.lane)
        for parcel in some:
            self._widths.accepted(self.key.lane)
            self.settled(parcel)
        if not knew and self._widths.answers(self.key.lane):
            self._news.set()  # more connections may be worth it from now on

    def settled(self, parcel: Parcel) -> None:
        """This one is no longer ours."""
        # Its delivery may have been freed meanwhile and be claimed by this lane anew, for another letter.
        if self._held.get(parcel.claim.delivery_id) is parcel.claim:
            del self._held[parcel.claim.delivery_id]

    def minded(self) -> None:
        """The server does not like so many connections."""
        self._widths.minded(self.key.lane)

    def trouble(self, *, rest: float = 0.0) -> None:
        """Nothing more is begun; the lane may be started again after `rest` seconds."""
        self._troubled, self.rest = True, max(self.rest, rest)

    def wait_its_turn(self, line: Line) -> None:
        """The line may not sign in now: another connection is about to, or has to come first."""
        if self._lines == {line}:
            self.trouble(rest=NOT_NOW)
        else:
            line.done = True
            self._no_wider_until = time.monotonic() + _NO_WIDER

    def ended(self, line: Line) -> None:
        """The line runs no more."""
        self._lines.discard(line)

    def _claim_ahead(self) -> None:
        """Claims the next letters while all connections wait for their servers, so that none has to wait for that."""
        is_low = len(self._ready) < self._batch * _SOON
        if not (is_low and self._more_is_due) or self._failing or self._troubled or self._ending.is_set():
            return
        if self._widths.allowed(self.key.lane) == 1:
            return
        try:
            self._claim(_AHEAD)
        except Exception as error:
            # As for a connection that claims: what is in flight goes on, and nothing more is begun for now.
            if isinstance(error, OperationalError):
                log.warning("the database is away; nothing is claimed", error=type(error).__name__)
            else:
                log.exception("letters cannot be claimed", lane=str(self.key.lane))
            self.trouble(rest=NOT_NOW)

    def _claim(self, most: int = MOST) -> bool:
        """Claims a batch and makes its letters; says whether there was anything, sent or set aside."""
        with db.account_scope(self.key.account_id):
            tried = self._in_trouble()
            claimed = self._claim_one_to_try(tried) if tried else self._claim_batch(most)
            self._held.update((one.id, one.claim) for one in claimed)
            made = parcels.make(self.key, claimed, platform_from=self.carrier.settings.platform_from)
            if tried is None and made and made[-1].route.failing:
                # It came into trouble since this lane looked; the next claim is of one letter.
                self._failing = True
                claims.release([parcel.claim for parcel in made])
                made.clear()
            wanted = len(made)
            resting = parcels.keep_pace(made)
        if len(made) < wanted:
            self._more_is_due = False  # that its server's limits let go now
        kept = {parcel.claim.delivery_id for parcel in made}
        for one in claimed:
            if one.id not in kept:
                del self._held[one.id]
        if made:
            self._widths.limit(self.key.lane, made[-1].route.limits.connections)
        self._since = self._claimed_at = time.monotonic()
        if not self._ready:
            self._screened_at = self._claimed_at
        self._ready.extend(made)
        self.found = self.found or bool(claimed)
        self._claimed = len(made)
        if (resting and not made) or (tried and not claimed):
            # By then the drain sees that it waits, and until when; or whoever tries the server knows more.
            self.rest = max(self.rest, NOT_NOW)
            return False
        return bool(claimed)

    def _screen_again(self) -> None:
        """Somebody may have unsubscribed while a slow server kept the lane waiting, or the account been suspended."""
        if not self._ready or time.monotonic() - self._screened_at < FRESH:
            return
        self._screened_at = time.monotonic()
        some = list(self._ready)
        with db.account_scope(self.key.account_id):
            kept = parcels.screen_again(self.key, some)
        self._ready = deque(kept)
        left = set(map(id, kept))
        for parcel in some:
            if id(parcel) not in left:
                self.settled(parcel)

    def _in_trouble(self) -> Route | None:
        """The lane's route, where its server was in trouble and takes one letter at a time till it works."""
        if not self._failing or self.key.system:
            return None
        route = lane_route(self.key.address_id)
        self._failing = route.failing and not route.paused
        return route if self._failing else None

    def _claim_one_to_try(self, route: Route) -> list[Claimed]:
        return probing.claim_one_to_try(self.key, route, owner=self._owner, lease=self.carrier.settings.tuning.lease)

    def _claim_batch(self, most: int) -> list[Claimed]:
        limit, lease = min(most, self._next_batch()), self.carrier.settings.tuning.lease
        claimed = claims.claim(self.key, owner=self._owner, limit=limit, lease=lease)
        self._more_is_due = len(claimed) == limit
        return claimed

    def _next_batch(self) -> int:
        """As many letters as about a second takes, by how long the last batch took."""
        if self._widths.allowed(self.key.lane) == 1:
            return FEWEST
        elapsed = time.monotonic() - self._claimed_at
        self._batch = int(min(MOST, 4 * self._batch, max(FEWEST, self._claimed / max(elapsed, 0.001) * _SECONDS)))
        return self._batch
