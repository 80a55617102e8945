"""Carries one claimed delivery to its server and records what came of it: the one path that every letter takes."""

from __future__ import annotations

import threading
import time
from collections.abc import Hashable
from typing import Any

import structlog

from panel import db
from panel.config import Settings
from panel.deliveries import breaker, letters, record, screening
from panel.deliveries.claims import Claim, LeaseLost
from panel.deliveries.decide import decide, trying_time
from panel.deliveries.warm import WarmSessions
from panel.livesteps import StepBoard
from panel.message.letter import Letter
from panel.message.template import TooLarge
from panel.outbox import service as outbox
from panel.outbox.service import Delivery
from panel.servers import service as servers
from panel.servers.service import Envelope, Route
from panel.smtp.outcome import About, FailureCode, Outcome, Phase, SmtpFailure, Verdict
from panel.smtp.session import Session
from panel.smtp.steps import Observer
from panel.smtp.timeouts import Timeouts

log = structlog.get_logger(__name__)


# The server was not asked; the owner has to enter the password again.
_PASSWORD_UNREADABLE = Outcome(
    verdict=Verdict.PERMANENT,
    about=About.CREDENTIALS,
    phase=Phase.CLOSED,
    failure=FailureCode.AUTH_FAILED,
    detail="The stored password can no longer be read. Please enter it again.",
)


class Carrier:
    """Shared by the threads of a worker."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.warm = WarmSessions()
        self._lock = threading.Lock()
        self._talking: set[Session] = set()
        self._timeouts = Timeouts(
            connect=settings.tuning.connect,
            reply=settings.tuning.reply,
            data=settings.tuning.reply,
            final_dot=settings.tuning.final_reply,
        )

    def carry(self, claim: Claim, board: StepBoard | None = None) -> None:
        """Tries the delivery once. Opens the account's scope; raises nothing that has to do with mail."""
        try:
            with db.account_scope(claim.account_id):
                self._carry(claim, board)
        except LeaseLost:
            log.warning("lease lost; nothing was sent under it", delivery=claim.delivery_id)

    def abort(self) -> None:
        """Breaks off every conversation: for a shutdown that can wait no longer."""
        with self._lock:
            talking = list(self._talking)
        for session in talking:
            session.abort()

    def _carry(self, claim: Claim, board: StepBoard | None) -> None:
        delivery = outbox.get(claim.delivery_id)
        route = screening.route_for(delivery)
        aside = screening.set_aside(delivery, route)
        if aside is not None:
            record.set_aside(claim, aside.state, reason=aside.reason)
            return
        envelope = servers.envelope_of(route, platform_from=self.settings.platform_from)
        try:
            letter = letters.letter_of(delivery, envelope)
        except (TooLarge, ValueError) as error:
            log.warning("a letter cannot be made", delivery=claim.delivery_id, error=type(error).__name__)
            record.set_aside(claim, "failed", reason="letter_cannot_be_made")
            return
        record.begun(claim, server=route.label)
        attempt = _Attempt(self, claim, delivery, route, envelope, letter, board)
        outcome = attempt.run()
        decision = decide(
            outcome,
            attempts=delivery.attempts,
            trying=trying_time(since=delivery.trying_since, held_at=delivery.held_at, now=db.now()),
            began=attempt.began,
            own_server=route.server_id is not None,
        )
        if not record.ended(claim, outcome, decision, steps=board.steps() if board else None):
            log.warning("a result came after the lease", delivery=claim.delivery_id, outcome=decision.state)
        breaker.note(route, outcome, decision)

    def open(self, route: Route, observer: Observer | None) -> Session:
        """A fresh session to the route's server, signed in. Raises SmtpFailure."""
        settings, policy = servers.smtp_settings(route)
        session = Session(
            settings=settings,
            policy=policy,
            ehlo_name=self.settings.ehlo_name,
            timeouts=self._timeouts,
            observer=observer,
        )
        db.release()  # no open transaction while talking to a mail server
        self.watch(session)
        try:
            session.open()
        except BaseException:
            self.unwatch(session)
            session.close()
            raise
        self.unwatch(session)
        return session

    def watch(self, session: Session) -> None:
        """From now on `abort` reaches it."""
        with self._lock:
            self._talking.add(session)

    def unwatch(self, session: Session) -> None:
        """`abort` no longer reaches it."""
        with self._lock:
            self._talking.discard(session)


class _Attempt:
    """One attempt, from the connection to the outcome."""

    def __init__(
        self,
        carrier: Carrier,
        claim: Claim,
        delivery: Delivery,
        route: Route,
        envelope: Envelope,
        letter: Letter,
        board: StepBoard | None,
    ) -> None:
        self._carrier = carrier
        self._claim = claim
        self._delivery = delivery
        self._route = route
        self._envelope = envelope
        self._letter = letter
        self._board = board
        self.began = False

    def run(self) -> Outcome:
        """Sends over a warm connection if there is one, else over a fresh one."""
        session = None if self._board else self._carrier.warm.take(self._key)
        if session is not None:
            outcome = self._send(session)
            if not self._stale(outcome):
                return outcome
        try:
            session = self._carrier.open(self._route, self._board.observe if self._board else None)
        except SmtpFailure as failure:
            return failure.outcome
        except servers.PasswordUnreadable:
            return _PASSWORD_UNREADABLE
        return self._send(session)

    @property
    def _key(self) -> Hashable:
        # A changed server has another version, so that a connection made with old settings is never used again.
        return (self._route.kind, self._route.server_id, self._route.server_version)

    def _stale(self, outcome: Outcome) -> bool:
        # The server hung up while the connection was idle: that says nothing of the letter, nor of the server.
        lost = outcome.verdict is Verdict.NOT_SENT or outcome.code == 421
        return lost and not self.began and outcome.phase in (Phase.READY, Phase.MAIL) and not self._aborted(outcome)

    @staticmethod
    def _aborted(outcome: Outcome) -> bool:
        return outcome.failure is FailureCode.CANCELED

    def _send(self, session: Session) -> Outcome:
        db.release()
        self._carrier.watch(session)
        try:
            outcome = session.send(
                sender=self._envelope.from_address,
                recipient=self._delivery.to_address,
                letter=lambda eightbit: self._letter.wire(eightbit=eightbit),
                before_body=self._before_body,
            )
        finally:
            self._carrier.unwatch(session)
        self._put_away(session)
        return outcome

    def _put_away(self, session: Session) -> None:
        if session.reusable and self._board is None:
            self._carrier.warm.give(self._key, session)
        else:
            session.quit()

    def _before_body(self) -> None:
        record.sending(
            self._claim,
            lease=self._carrier.settings.tuning.lease,
            server_id=self._route.server_id,
            server_version=self._route.server_version,
            sent_from=letters.sent_from(self._envelope),
        )
        self.began = True


class Heartbeat:
    """Renews a worker's leases while it talks, from a thread of its own."""

    def __init__(self, renew: Any, lease: float) -> None:
        self._renew = renew
        self._every = lease / 4
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def __enter__(self) -> Heartbeat:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(timeout=2)

    def _beat(self) -> None:
        while not self._stop.wait(self._every):
            started = time.monotonic()
            try:
                self._renew()
            except Exception as error:  # noqa: BLE001 - a beat that fails is followed by another; leases are long
                log.warning("leases not renewed", error=type(error).__name__, after=time.monotonic() - started)
