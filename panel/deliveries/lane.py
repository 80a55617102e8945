"""A lane: one thread and one connection, which takes the deliveries of one route, letter after letter.

What has to be written before octets leave is written by the `Recorder`, together with what other lanes have to write.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import structlog
from flask import Flask
from sqlalchemy.exc import SQLAlchemyError

from panel import db
from panel.deliveries import claims, parcels, record
from panel.deliveries.carrier import Carrier, connection_key
from panel.deliveries.claims import Claim, LaneKey, LeaseLost
from panel.deliveries.parcels import Parcel
from panel.deliveries.record import Ended
from panel.deliveries.recorder import Entry
from panel.deliveries.widths import Widths
from panel.outbox import service as outbox
from panel.servers import service as servers
from panel.smtp.outcome import FailureCode, Outcome, SmtpFailure
from panel.smtp.session import Session, Submission

log = structlog.get_logger(__name__)

FEWEST: Final = 10
MOST: Final = 300
_SECONDS: Final = 1.0  # of sending, that a batch is to last
_STALLED: Final = 3.0  # seconds after which a lane that talks about one letter is waiting for its server
_TRIES: Final = 2  # connections that may end before the server has heard of a letter, until that counts against it
_NOT_NOW: Final = 1.0  # seconds until what could not be done now is tried again
_AFTER_A_FAULT: Final = 300.0  # seconds until a letter that a fault of ours kept from being sent is tried again


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Offered(Submission):
    """A letter that the session has been given."""

    parcel: Parcel


class Lane(threading.Thread):
    """Claims, sends and records until nothing is due, its server is in trouble, or it is asked to end."""

    def __init__(
        self, app: Flask, carrier: Carrier, widths: Widths, key: LaneKey, *, owner: str, ended: threading.Semaphore
    ) -> None:
        super().__init__(name="lane", daemon=True)
        self.key = key
        self.rest = 0.0  # seconds that the lane should not be started again for
        self.found = False  # whether there was anything to claim
        self.over = False
        self._app = app
        self._carrier = carrier
        self._widths = widths
        self._owner = owner
        self._told = ended
        self._ending = threading.Event()
        self._ready: deque[Parcel] = deque()
        self._offered: deque[Parcel] = deque()
        self._ended: list[Ended] = []
        self._accepted: list[Parcel] = []
        self._again: list[Parcel] = []
        self._held: dict[int, Claim] = {}
        self._batch = FEWEST
        self._claimed = 0
        self._claimed_at = 0.0
        self._since = time.monotonic()
        self._rides = True
        self._troubled = False

    # -- what other threads may ask -----------------------------------------------------------------------------------

    def holds(self) -> list[int]:
        """The deliveries whose leases it needs."""
        return list(self._held)

    @property
    def stalled(self) -> bool:
        """Whether it has been at the same letter for long."""
        return time.monotonic() - self._since > _STALLED

    def end(self) -> None:
        """Asks it to end after the letters in flight."""
        self._ending.set()

    # -- the thread ---------------------------------------------------------------------------------------------------

    def run(self) -> None:
        try:
            with self._app.app_context():
                while self._more():
                    self._ship()
        except Exception:
            # A fault of ours. Where a body may have begun to flow, the lapsing lease makes it `uncertain`.
            log.exception("a lane broke", lane=str(self.key.lane))
            self.rest = _NOT_NOW
            self._put_off()
        finally:
            self._give_back()
            self.over = True
            self._told.release()

    def _more(self) -> bool:
        """Whether there is a letter to send; claims a batch when there is none left."""
        while not self._ready and not self._troubled and not self._ending.is_set():
            if not self._claim():
                return False
        return bool(self._ready) and not self._troubled and not self._ending.is_set()

    def _claim(self) -> bool:
        """Claims a batch and makes its letters; says whether there was anything, sent or set aside."""
        limit = self._next_batch()
        with db.account_scope(self.key.account_id):
            claimed = claims.claim(self.key, owner=self._owner, limit=limit, lease=self._carrier.settings.tuning.lease)
            self._held.update((one.id, one.claim) for one in claimed)
            made = parcels.make(self.key, claimed, platform_from=self._carrier.settings.platform_from)
            if made and made[-1].route.failing:
                # A server that was in trouble gets one letter to try.
                claims.release([parcel.claim for parcel in made[1:]])
                del made[1:]
            resting = parcels.keep_pace(made)
        kept = {parcel.claim.delivery_id for parcel in made}
        for one in claimed:
            if one.id not in kept:
                del self._held[one.id]
        self._ready.extend(made)
        self.found = self.found or bool(claimed)
        self._since = self._claimed_at = time.monotonic()
        self._claimed = len(made)
        return bool(claimed) and not (resting and not made)

    def _next_batch(self) -> int:
        """As many letters as about a second takes, by how long the last batch took."""
        if self._widths.allowed(self.key.lane) == 1:
            return FEWEST
        elapsed = time.monotonic() - self._claimed_at
        self._batch = int(min(MOST, 4 * self._batch, max(FEWEST, self._claimed / max(elapsed, 0.001) * _SECONDS)))
        return self._batch

    def _ship(self) -> None:
        """Sends what is ready, and whatever is claimed meanwhile, over one connection."""
        session = self._connect()
        if session is None:
            return
        route = self._ready[0].route
        try:
            for outcome in session.send_all(self._offer(), self):
                self._since = time.monotonic()
                self._settle(outcome)
        except LeaseLost:
            self._withdraw()
        finally:
            self._ready.extendleft(reversed(self._again))
            self._again.clear()
            self._carrier.put_away(route, session)
            self._flush()

    def _connect(self) -> Session | None:
        """A connection for the first letter that is ready; None where its server could not be had."""
        parcel = self._ready[0]
        session = self._carrier.warm.take(connection_key(parcel.route))
        if session is not None:
            self._carrier.watch(session)
            return session
        if not self._may_sign_in(parcel):
            return None
        outcome = None
        try:
            self._begin(parcel)
            session = self._carrier.open(parcel, ride=self._rides)
        except SmtpFailure as failure:
            outcome = failure.outcome
        except LeaseLost:
            self._signed_in(parcel, None)
            self._drop(self._ready.popleft())
            return None
        self._signed_in(parcel, outcome)
        if outcome is not None:
            self._offered.append(self._ready.popleft())
            self._settle(outcome)
        return session

    def _may_sign_in(self, parcel: Parcel) -> bool:
        self._widths.limit(self.key.lane, parcel.route.limits.connections)
        with db.account_scope(self.key.account_id):
            allowed = servers.may_sign_in(parcel.route)
        if not allowed:
            self.rest, self._troubled = _NOT_NOW, True
        return allowed

    def _signed_in(self, parcel: Parcel, outcome: Outcome | None) -> None:
        with db.account_scope(self.key.account_id):
            if outcome is None and parcel.begun:
                servers.signed_in(parcel.route)
            else:
                servers.sign_in_ended(parcel.route, outcome)

    def _offer(self) -> Iterator[Submission]:
        """The letters that go over this connection, each when the session asks for it."""
        key = connection_key(self._ready[0].route)
        while self._more():
            if connection_key(self._ready[0].route) != key:
                return
            parcel = self._ready.popleft()
            self._offered.append(parcel)
            yield _Offered(
                sender=parcel.envelope.from_address,
                recipient=parcel.to_address,
                letter=parcel.letter,
                parcel=parcel,
            )

    # -- the journal: what is committed before octets leave -----------------------------------------------------------

    def before_envelope(self, submission: Submission) -> None:
        """Records what ended, and that this letter's attempt begins."""
        assert isinstance(submission, _Offered)
        self._begin(submission.parcel)

    def before_body(self, submission: Submission, following: Submission | None) -> None:
        """Records what ended, that this letter may flow from now on, and that the next one's attempt begins."""
        assert isinstance(submission, _Offered)
        riding = following.parcel if isinstance(following, _Offered) else None
        begun = self._carrier.begun(riding) if riding else None
        self._record(Entry(sending=self._carrier.sending(submission.parcel), begun=begun))
        submission.parcel.began = True
        if riding:
            riding.begun = True

    def _begin(self, parcel: Parcel) -> None:
        begun = self._carrier.begun(parcel)
        if begun is not None or self._ended:
            self._record(Entry(begun=begun))
            parcel.begun = True

    def _record(self, entry: Entry) -> None:
        entry.ended, self._ended = self._ended, []
        accepted, self._accepted = self._accepted, []
        try:
            self._carrier.recorder.commit(entry)
        except LeaseLost:
            pass_on = True  # what had ended is recorded all the same
        except BaseException:
            self._ended, self._accepted = [*entry.ended, *self._ended], [*accepted, *self._accepted]
            raise
        else:
            pass_on = False
        for parcel in accepted:
            self._widths.accepted(self.key.lane)
            self._held.pop(parcel.claim.delivery_id, None)
        if pass_on:
            raise LeaseLost

    def _flush(self) -> None:
        if self._ended:
            self._record(Entry())

    # -- results ------------------------------------------------------------------------------------------------------

    def _settle(self, outcome: Outcome) -> None:
        parcel = self._offered.popleft()
        if outcome.stale and parcel.tried < _TRIES:
            # The connection ended before the server had heard of it, which says nothing of letter or server.
            parcel.tried += 1
            self._rides = self._rides and parcel.tried < _TRIES
            self._again.append(parcel)
            return
        decision = self._carrier.decide(parcel, outcome)
        self._ended.append(Ended(parcel.claim, outcome, decision, db.now()))
        if outcome.accepted:
            self._accepted.append(parcel)
            if not parcel.route.failing:
                return
        self._flush()
        self._held.pop(parcel.claim.delivery_id, None)
        if outcome.failure in (FailureCode.SERVER_BUSY, FailureCode.CONNECT_FAILED, FailureCode.CONNECT_TIMEOUT):
            self._widths.minded(self.key.lane)
        # What the server's trouble or recovery means for the rest is looked at anew, before anything else is sent.
        self._troubled = self._troubled or decision.pause is not None or parcel.route.failing
        self._carrier.note(parcel, outcome, decision)

    def _withdraw(self) -> None:
        """A letter may not flow after all: its row was taken away or changed meanwhile. The rest is offered anew."""
        parcel = self._offered.popleft()
        self._drop(parcel)
        self._ready.extendleft(reversed(self._offered))
        self._offered.clear()

    def _drop(self, parcel: Parcel) -> None:
        log.info("a letter was withdrawn before its body", delivery=parcel.claim.delivery_id)
        with db.account_scope(self.key.account_id):
            record.abandoned(parcel.claim)
            parcels.give_back([parcel], wait=_NOT_NOW)
        self._held.pop(parcel.claim.delivery_id, None)

    def _put_off(self) -> None:
        """Keeps a letter that makes us fail from being tried over and over: it waits like after a refusal."""
        try:
            with db.account_scope(self.key.account_id):
                for parcel in (*self._offered, *self._again):
                    claim = parcel.claim
                    if parcel.begun and not parcel.began:
                        record.abandoned(claim)
                    outbox.put_off(claim.delivery_id, fence=claim.fence, reason="internal_error", wait=_AFTER_A_FAULT)
        except SQLAlchemyError as error:
            log.warning("deliveries wait for their leases to lapse", error=type(error).__name__)

    def _give_back(self) -> None:
        try:
            self._flush()
            with db.account_scope(self.key.account_id):
                for parcel in self._ready:
                    if parcel.begun:
                        record.abandoned(parcel.claim)
                parcels.give_back(self._ready, wait=self.rest)
        except Exception as error:  # noqa: BLE001 - the leases lapse by themselves
            log.warning("claims not given back", error=type(error).__name__)
        self._held.clear()
