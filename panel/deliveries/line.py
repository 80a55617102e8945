"""One connection of a lane: takes letter after letter, and has written what must be before octets leave."""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import structlog
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from panel import db
from panel.deliveries import parcels, record
from panel.deliveries.carrier import connection_key
from panel.deliveries.claims import LeaseLost
from panel.deliveries.decide import AFTER_A_BREAK, GIVE_UP_AFTER, wait_after
from panel.deliveries.parcels import Parcel
from panel.deliveries.record import Ended
from panel.deliveries.recorder import Entry
from panel.outbox import service as outbox
from panel.servers import service as servers
from panel.smtp.outcome import FailureCode, Outcome, SmtpFailure
from panel.smtp.session import Session, Submission

if TYPE_CHECKING:
    from panel.deliveries.lane import Lane

log = structlog.get_logger(__name__)

NOT_NOW: Final = 1.0  # seconds until what could not be done now is tried again
_TRIES: Final = 2  # connections that may end before the server has heard of a letter, until that counts against it
_MINDED: Final = (FailureCode.SERVER_BUSY, FailureCode.CONNECT_FAILED, FailureCode.CONNECT_TIMEOUT)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Offered(Submission):
    """A letter that the session has been given."""

    parcel: Parcel


class Line:
    """Runs by turns with the lane's other connections; the journal of its session."""

    def __init__(self, lane: Lane) -> None:
        self._lane = lane
        self._carrier = lane.carrier
        self._offered: deque[Parcel] = deque()
        self._ended: list[Ended] = []
        self._accepted: list[Parcel] = []
        self._again: list[Parcel] = []
        self._rides = True
        self.done = False  # it is one too many for now

    def run(self) -> None:
        """Sends as long as there is something to send. Raises nothing."""
        lane = self._lane
        try:
            while not self.done and lane.more():
                self._ship(lane.next())
            self._flush()
        except OperationalError as error:
            # The database went away, which says nothing of the letters: they are tried again as soon as it is back.
            log.warning("the database is away; a connection ends", error=type(error).__name__)
            lane.trouble(rest=NOT_NOW)
            lane.put_back(parcel for parcel in (*self._offered, *self._again) if not parcel.began)
        except Exception:
            # A fault of ours. Where a body may have begun to flow, the lapsing lease makes it `uncertain`.
            log.exception("a connection broke", lane=str(lane.key.lane))
            lane.trouble(rest=NOT_NOW)
            self._put_off()
        finally:
            lane.ended(self)

    def _ship(self, first: Parcel) -> None:
        """Sends a letter, and whatever comes after it, over one connection."""
        session = self._connect(first)
        if session is None:
            return
        try:
            for outcome in session.send_all(self._offer(first), self):
                self._lane.progress()
                self._settle(outcome)
        except LeaseLost:
            self._withdraw()
        finally:
            self._lane.put_back(self._again)
            self._again.clear()
            self._carrier.put_away(first.route, session)
            self._flush()

    def _connect(self, parcel: Parcel) -> Session | None:
        """A connection for the letter; None where its server could not be had, and then the letter is seen to."""
        session = self._carrier.warm.take(connection_key(parcel.route))
        if session is not None:
            session.wait_by(self._lane.hub.wait)
            self._carrier.watch(session)
            return session
        self._offered.append(parcel)  # where `run` finds it, whatever is raised here
        slot = uuid.uuid4().hex
        if not self._may_sign_in(parcel, slot):
            self._lane.put_back([self._offered.popleft()])
            self._lane.wait_its_turn(self)
            return None
        session = None
        try:
            self._begin(parcel)
            session = self._carrier.open(parcel, ride=self._rides, wait=self._lane.hub.wait)
            self._carrier.hold_slot(session, parcel.route, slot)
            with db.account_scope(parcel.claim.account_id):
                servers.signed_in(parcel.route)
        except SmtpFailure as failure:
            self._not_signed_in(parcel, slot, failure.outcome)
            self._settle(failure.outcome)
            return None
        except LeaseLost:
            self._not_signed_in(parcel, slot)
            self._drop(self._offered.popleft())
            return None
        except BaseException:
            self._leave(parcel, slot, session)
            raise
        self._offered.popleft()
        return session

    def _may_sign_in(self, parcel: Parcel, slot: str) -> bool:
        """Whether there may be one more connection to the letter's server; if so, the slot is taken and it counts."""
        if not servers.take_slot(parcel.route, slot, lasts=self._carrier.settings.tuning.lease):
            return False
        allowed = False
        try:
            with db.account_scope(parcel.claim.account_id):
                allowed = servers.may_sign_in(parcel.route)
        finally:
            if not allowed:
                self._free(parcel, slot)
        return allowed

    def _not_signed_in(self, parcel: Parcel, slot: str, outcome: Outcome | None = None) -> None:
        try:
            with db.account_scope(parcel.claim.account_id):
                servers.sign_in_ended(parcel.route, outcome)
        finally:
            self._free(parcel, slot)

    def _leave(self, parcel: Parcel, slot: str, session: Session | None) -> None:
        """A fault of ours ended the connection's beginning: nothing of it may stay behind."""
        if session is not None:
            self._carrier.give_up(session)
        try:
            self._not_signed_in(parcel, slot)
        except SQLAlchemyError as error:
            log.warning("a sign-in stays counted until it is forgotten", error=type(error).__name__)

    @staticmethod
    def _free(parcel: Parcel, slot: str) -> None:
        if parcel.route.server_id is not None:
            servers.free_slot(parcel.route.server_id, slot)

    def _offer(self, first: Parcel) -> Iterator[Submission]:
        """The letters that go over this connection, each when the session asks for it."""
        key, parcel = connection_key(first.route), first
        while True:
            self._offered.append(parcel)
            yield _Offered(
                sender=parcel.envelope.from_address,
                recipient=parcel.to_address,
                letter=parcel.letter,
                parcel=parcel,
            )
            if not self._lane.more(key):
                return
            parcel = self._lane.next()

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
            self._lane.hub.record(entry)
        except LeaseLost:
            self._lane.accepted(accepted)  # what had ended is recorded all the same
            raise
        except BaseException:
            self._ended, self._accepted = [*entry.ended, *self._ended], [*accepted, *self._accepted]
            raise
        self._lane.accepted(accepted)

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
        self._lane.settled(parcel)
        if outcome.failure in _MINDED or decision.state == "uncertain":
            self._lane.minded()
        if decision.state == "uncertain" and decision.pause is None:
            # Of the platform's server nobody counts failures; one that dies at each final dot gets few to die of.
            self._lane.trouble(rest=AFTER_A_BREAK)
        if decision.pause is not None or parcel.route.failing:
            # What the server's trouble or recovery means for the rest is looked at anew, before anything else is sent.
            # Where it said “too fast” the drain needs a moment to see that its lanes wait.
            self._lane.trouble(rest=NOT_NOW if decision.pause == "rate" else 0.0)
        self._carrier.note(parcel, outcome, decision)

    def _withdraw(self) -> None:
        """A letter may not flow after all: its row was taken away or changed meanwhile. The rest is offered anew."""
        self._drop(self._offered.popleft())
        self._lane.put_back(self._offered)
        self._offered.clear()

    def _drop(self, parcel: Parcel) -> None:
        log.info("a letter was withdrawn before its body", delivery=parcel.claim.delivery_id)
        with db.account_scope(parcel.claim.account_id):
            record.abandoned(parcel.claim)
            parcels.give_back([parcel], wait=NOT_NOW)
        self._lane.settled(parcel)

    def _put_off(self) -> None:
        """Keeps a letter that makes us fail from being tried over and over: it waits, and ends, like after refusals."""
        try:
            with db.account_scope(self._lane.key.account_id):
                for parcel in (*self._offered, *self._again):
                    claim = parcel.claim
                    if parcel.begun and not parcel.began:
                        record.abandoned(claim)
                    wait = None if parcel.trying > GIVE_UP_AFTER else wait_after(parcel.attempts)
                    outbox.put_off(claim.delivery_id, fence=claim.fence, reason="internal_error", wait=wait)
        except SQLAlchemyError as error:
            log.warning("deliveries wait for their leases to lapse", error=type(error).__name__)
