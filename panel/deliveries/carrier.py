"""Connections to mail servers, shared by the threads of a worker, and the way of a single letter over one of them."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Hashable
from contextlib import AbstractContextManager
from typing import Final

import structlog

from panel import db, queue
from panel.config import Settings
from panel.deliveries import breaker, claims, misfits, parcels
from panel.deliveries.claims import Claimed, LaneKey, LeaseLost
from panel.deliveries.decide import Decision, decide
from panel.deliveries.parcels import Parcel
from panel.deliveries.record import Begun, Ended, Sending
from panel.deliveries.recorder import Entry, Recorder
from panel.deliveries.warm import WarmSessions
from panel.livesteps import StepBoard
from panel.servers import service as servers
from panel.servers.service import Route
from panel.smtp.outcome import About, FailureCode, Outcome, Phase, SmtpFailure, Verdict
from panel.smtp.session import Session
from panel.smtp.steps import Observer
from panel.smtp.timeouts import Timeouts
from panel.smtp.transport import Wait

log = structlog.get_logger(__name__)

_PATIENCE: Final = 4.0  # seconds that a letter somebody looks on waits for a connection that it may open
_LOOK: Final = 0.2

# The server was not asked; the owner has to enter the password again.
_PASSWORD_UNREADABLE = Outcome(
    verdict=Verdict.PERMANENT,
    about=About.CREDENTIALS,
    phase=Phase.CLOSED,
    failure=FailureCode.AUTH_FAILED,
    detail="The stored password can no longer be read. Please enter it again.",
)


def connection_key(route: Route) -> Hashable:
    """Whose connection it is. A changed server has another version: one made with old settings is never used again."""
    return (route.kind, route.server_id, route.server_version)


class Carrier:
    """What the lanes of a worker share. `stopping` is set when the process is to stop."""

    def __init__(self, settings: Settings, stopping: threading.Event) -> None:
        self.settings = settings
        self.warm = WarmSessions(self._ended)
        self.recorder = Recorder(stopping)
        self._lock = threading.Lock()
        self._talking: set[Session] = set()
        self._slots: dict[Session, tuple[uuid.UUID, str]] = {}
        self._timeouts = Timeouts(
            connect=settings.tuning.connect,
            reply=settings.tuning.reply,
            data=settings.tuning.reply,
            final_dot=settings.tuning.final_reply,
        )

    def open(
        self, parcel: Parcel, observer: Observer | None = None, *, ride: bool = True, wait: Wait | None = None
    ) -> Session:
        """A fresh session to the letter's server, signed in. In no scope. Raises SmtpFailure."""
        with db.account_scope(parcel.claim.account_id):
            try:
                settings, policy = servers.smtp_settings(parcel.route)
            except servers.PasswordUnreadable:
                raise SmtpFailure(_PASSWORD_UNREADABLE) from None
        session = Session(
            settings=settings,
            policy=policy,
            ehlo_name=self.settings.ehlo_name,
            timeouts=self._timeouts,
            observer=observer,
            ride=ride,
        )
        session.wait_by(wait)
        self.watch(session)
        try:
            session.open()
        except BaseException:
            self.unwatch(session)
            session.close()
            raise
        return session

    def hold_slot(self, session: Session, route: Route, holder: str) -> None:
        """From now on the session holds this slot of its server."""
        if route.server_id is not None:
            self._slots[session] = (route.server_id, holder)

    def keep_slots(self) -> None:
        """Renews the slots of all open connections."""
        if held := list(self._slots.values()):
            servers.keep_slots(held, lasts=self.settings.tuning.lease)

    def _ended(self, session: Session) -> None:
        if slot := self._slots.pop(session, None):
            servers.free_slot(*slot)

    def watch(self, session: Session) -> None:
        """From now on `abort` reaches it."""
        with self._lock:
            self._talking.add(session)

    def unwatch(self, session: Session) -> None:
        """`abort` no longer reaches it."""
        with self._lock:
            self._talking.discard(session)

    def abort(self) -> None:
        """Breaks off every conversation: for a shutdown that can wait no longer."""
        with self._lock:
            talking = list(self._talking)
        for session in talking:
            session.abort()

    def put_away(self, route: Route, session: Session) -> None:
        """Keeps a connection for the next letter, or says goodbye."""
        self.unwatch(session)
        session.wait_by(None)
        if session.reusable:
            self.warm.give(connection_key(route), session)
        else:
            session.quit()
            self._ended(session)

    def give_up(self, session: Session) -> None:
        """Closes a connection without a word."""
        self.unwatch(session)
        session.close()
        self._ended(session)

    @staticmethod
    def begun(parcel: Parcel) -> Begun | None:
        """The attempt to be written before the letter's envelope leaves; None if that was done before."""
        return None if parcel.begun else Begun(parcel.claim, parcel.route.label, db.now())

    def sending(self, parcel: Parcel) -> Sending:
        """What has to be committed before the letter's body flows."""
        route, envelope = parcel.route, parcel.envelope
        return Sending(
            parcel.claim,
            route.server_id,
            route.server_version,
            {
                "from_name": envelope.from_name,
                "from_address": envelope.from_address,
                "reply_to": envelope.reply_to,
            },
        )

    @staticmethod
    def decide(parcel: Parcel, outcome: Outcome) -> Decision:
        """What becomes of the letter. In no scope."""
        return decide(
            outcome,
            attempts=parcel.attempts,
            trying=parcel.trying,
            began=parcel.began,
            own_server=parcel.route.server_id is not None,
            misfit=misfits.is_misfit(parcel.claim, parcel.route, outcome),
        )

    def note(self, parcel: Parcel, outcome: Outcome, decision: Decision) -> None:
        """Tells the breaker what an attempt says of its server, once it is recorded. In no scope."""
        if decision.pause is not None or parcel.route.failing:
            with db.account_scope(parcel.claim.account_id):
                breaker.note(parcel.route, outcome, decision)

    def carry(self, key: LaneKey, claimed: Claimed, board: StepBoard) -> bool:
        """Tries one delivery over a connection of its own, telling `board`. In no scope.

        False when it is not tried now: it was given back, or set aside with a reason.
        """
        with db.account_scope(key.account_id):
            made = parcels.make(key, [claimed], platform_from=self.settings.platform_from)
        return bool(made) and _Single(self, made[0], board).run()


class _Single:
    """One letter over a fresh connection, step by step. It is counted in its server's limits and waits for none, but it
    keeps to the connections and sign-ins that its server may have."""

    def __init__(self, carrier: Carrier, parcel: Parcel, board: StepBoard) -> None:
        self._carrier = carrier
        self._parcel = parcel
        self._board = board
        self._slot = uuid.uuid4().hex

    def run(self) -> bool:
        carrier, parcel = self._carrier, self._parcel
        if not self._may_open_soon():
            # A delivery worker does it when there is room; a person would not look on for so long.
            with self._scope():
                claims.release([parcel.claim])
            queue.ring_delivery()
            return False
        try:
            outcome = self._talk()
        except LeaseLost:
            log.warning("lease lost; nothing was sent under it", delivery=parcel.claim.delivery_id)
            return False
        finally:
            self._free()
        decision = carrier.decide(parcel, outcome)
        carrier.recorder.record(
            Entry(ended=[Ended(parcel.claim, outcome, decision, db.now(), steps=self._board.steps())])
        )
        carrier.note(parcel, outcome, decision)
        return True

    def _may_open_soon(self) -> bool:
        """Whether a connection may be opened within a few seconds; if so, it has its slot and counts as a sign-in."""
        end = time.monotonic() + _PATIENCE
        while not self._may_open():
            if time.monotonic() > end:
                return False
            time.sleep(_LOOK)
        return True

    def _may_open(self) -> bool:
        route = self._parcel.route
        if not servers.take_slot(route, self._slot, lasts=self._carrier.settings.tuning.lease):
            return False
        with self._scope():
            if servers.may_sign_in(route):
                return True
        self._free()
        return False

    def _free(self) -> None:
        if self._parcel.route.server_id is not None:
            servers.free_slot(self._parcel.route.server_id, self._slot)

    def _scope(self) -> AbstractContextManager[object]:
        return db.account_scope(self._parcel.claim.account_id)

    def _open(self) -> Session:
        route = self._parcel.route
        try:
            self._carrier.recorder.record(Entry(begun=self._carrier.begun(self._parcel)))
            session = self._carrier.open(self._parcel, self._board.observe)
        except (LeaseLost, SmtpFailure) as error:
            with self._scope():
                servers.sign_in_ended(route, error.outcome if isinstance(error, SmtpFailure) else None)
            raise
        self._carrier.hold_slot(session, route, self._slot)
        return session

    def _talk(self) -> Outcome:
        try:
            session = self._open()
        except SmtpFailure as failure:
            return failure.outcome
        try:
            with self._scope():
                servers.signed_in(self._parcel.route)
                servers.count(self._parcel.route)
            return session.send(
                sender=self._parcel.envelope.from_address,
                recipient=self._parcel.to_address,
                letter=self._parcel.letter,
                before_body=self._before_body,
            )
        finally:
            self._carrier.unwatch(session)
            session.quit()
            self._carrier._ended(session)

    def _before_body(self) -> None:
        self._carrier.recorder.record(Entry(sending=self._carrier.sending(self._parcel)))
        self._parcel.began = True
