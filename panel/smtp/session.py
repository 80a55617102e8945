"""The one way to talk to a mail server: a blocking SMTP client (RFC 5321) that always knows how far it got."""

import time
from collections.abc import Callable, Generator, Iterable
from functools import partial
from types import TracebackType
from typing import Self

from panel.smtp.connection import Connection
from panel.smtp.destination import DestinationPolicy
from panel.smtp.features import Features
from panel.smtp.mailing import Mailing
from panel.smtp.outcome import Outcome, Phase, SmtpFailure
from panel.smtp.pipeline import Pipeline
from panel.smtp.resolver import Resolver
from panel.smtp.settings import ServerSettings
from panel.smtp.steps import Observer, Step, StepReporter
from panel.smtp.submission import Journal, MakeLetter, Submission, make, prepare
from panel.smtp.timeouts import Timeouts
from panel.smtp.tls import TlsSummary
from panel.smtp.transport import Wait
from panel.smtp.trouble import TROUBLE, Unsendable

__all__ = ["Journal", "MakeLetter", "Session", "Submission"]


class Session:
    """One connection to one server, for any number of letters.

    `open()`, then `probe()` or `send()` for as long as it is `reusable`, then `quit()` and `close()`; as a context
    manager it closes by itself. All of it belongs to one thread, but for `abort()` and reading `phase`. The `observer`
    is told each step; once it raises, it is told no more. Without `ride` no letter's commands are sent together with
    the body of the one before it: for servers that close after each letter, and may so lose their own last reply.
    """

    def __init__(
        self,
        *,
        settings: ServerSettings,
        policy: DestinationPolicy,
        ehlo_name: str,
        timeouts: Timeouts | None = None,
        observer: Observer | None = None,
        resolver: Resolver | None = None,
        ride: bool = True,
    ) -> None:
        self._timeouts = timeouts or Timeouts()
        self._steps = StepReporter(observer)
        self._connection = Connection(
            settings=settings,
            policy=policy,
            ehlo_name=ehlo_name,
            timeouts=self._timeouts,
            steps=self._steps,
            resolver=resolver,
        )
        self._mailing = Mailing(self._connection, self._timeouts)
        self._ride = ride

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def phase(self) -> Phase:
        """How far it has got."""
        return self._connection.phase

    @property
    def features(self) -> Features:
        """What the server offers, once it is open."""
        return self._connection.features

    @property
    def tls_summary(self) -> TlsSummary | None:
        """Protocol version and the certificate's expiry; None while there is no TLS."""
        return self._connection.tls

    @property
    def reusable(self) -> bool:
        """Whether the next letter can go over this connection."""
        transport = self._connection.transport
        return self.phase is Phase.READY and transport.is_open and not transport.aborted

    def wait_by(self, wait: Wait | None) -> None:
        """Wait for the server in this way from now on; None: in the thread that talks, as it does at first."""
        self._connection.transport.wait_by(wait)

    def open(self) -> None:
        """Look up, connect, greet, encrypt, say hello and sign in. Raises SmtpFailure."""
        now, connection = time.monotonic(), self._connection
        whole = float("inf") if self._timeouts.session is None else now + self._timeouts.session
        connection.end = min(whole, now + self._timeouts.open)
        try:
            connection.open()
        except TROUBLE as trouble:
            raise SmtpFailure(self._mailing.settle(trouble)) from trouble
        connection.end = whole
        self._mailing.opened()

    def probe(self, *, sender: str, recipient: str) -> None:
        """Ask whether the server would take a letter: MAIL, RCPT and RSET, never DATA. Raises SmtpFailure."""
        mailing = self._mailing
        mailing.begin()
        self._steps.running(Step.SENDER)
        try:
            mailing.say_envelope(prepare(sender=sender, recipient=recipient, made=None, features=self.features))
        except TROUBLE as trouble:
            raise SmtpFailure(mailing.settle(trouble)) from trouble
        self._connection.phase = Phase.READY
        try:
            mailing.reset()
        except TROUBLE:
            # The question is answered; only the connection is of no more use.
            self.close()

    def send(self, *, sender: str, recipient: str, letter: MakeLetter, before_body: Callable[[], None]) -> Outcome:
        """Send one letter, step by step, and say what came of it; nothing that has to do with mail is raised.

        `before_body` is called when the server has asked for the letter and none of it has left. What it raises is
        passed on, with the connection closed and no final dot said, which would have sent an empty letter. What
        `letter` raises is passed on, too; then nothing was said yet, and the connection stays.
        """
        return self._send(sender, recipient, letter, lambda: None, before_body)

    def _send(
        self,
        sender: str,
        recipient: str,
        letter: MakeLetter,
        before_envelope: Callable[[], None],
        before_body: Callable[[], None],
    ) -> Outcome:
        made, mailing = make(letter, self.features), self._mailing
        mailing.begin()
        self._steps.running(Step.SENDER)
        try:
            ready = prepare(sender=sender, recipient=recipient, made=made, features=self.features)
        except Unsendable as trouble:
            return mailing.settle(trouble)
        return mailing.stepwise(ready, before_envelope=before_envelope, before_body=before_body)

    def send_all(self, submissions: Iterable[Submission], journal: Journal) -> Generator[Outcome, None, None]:
        """Send letters and yield each one's outcome, in their order; end early when the connection is of no more use.

        Where the server offers PIPELINING (RFC 2920) a letter costs one round trip: its commands leave together with
        the body of the letter before it. So a submission is taken when the server has asked for the body of the one
        before it, and at the end there is an outcome for each that was taken. A letter that cannot go to this server,
        or for which the connection proves to have ended meanwhile, has its outcome without a call to the journal.

        What the journal or the iterable raises is passed on, with the connection closed unless no letter was under
        way; the letters that were taken and had no outcome yet were not sent. What making a letter raises is passed
        on after the outcome of the one before it; of that letter nothing was said yet, and the connection stays. Who
        takes no more outcomes closes the generator, and with it the connection when a letter was under way.
        """
        if self.features.pipelining and not self._steps.observed:
            return Pipeline(self._mailing, journal, ride=self._ride).send_all(submissions)
        return self._one_by_one(submissions, journal)

    def _one_by_one(self, submissions: Iterable[Submission], journal: Journal) -> Generator[Outcome, None, None]:
        for submission in submissions:
            yield self._send(
                submission.sender,
                submission.recipient,
                submission.letter,
                partial(journal.before_envelope, submission),
                partial(journal.before_body, submission, None),
            )
            if not self.reusable:
                return

    def quit(self) -> None:
        """Say QUIT and close. A 421, a hang or nonsense in answer changes nothing of what was done before."""
        deadline = time.monotonic() + self._timeouts.quit
        self.say_quit(deadline)
        self.hear_goodbye(deadline)

    def say_quit(self, deadline: float) -> None:
        """Say QUIT and do not wait for the answer, so that it can be said to many at once; then `hear_goodbye`."""
        connection = self._connection
        if not connection.transport.is_open:
            return
        self._steps.running(Step.QUIT)
        connection.phase, connection.end = Phase.QUIT, deadline
        try:
            connection.refuse_unasked()
            connection.transport.write(b"QUIT\r\n", deadline)
        except TROUBLE:
            self._left()

    def hear_goodbye(self, deadline: float) -> None:
        """Wait for the answer to QUIT, and close."""
        connection = self._connection
        if connection.transport.is_open:
            try:
                connection.transport.read_reply(deadline)
            except TROUBLE:
                self._left()
            else:
                connection.ok("The server said goodbye.")
        self.close()

    def _left(self) -> None:
        self._connection.ok("The server hung up without a goodbye, which does no harm.")
        self.close()

    def abort(self, *, late: bool = False) -> None:
        """End it from another thread: what is going on ends with the failure `canceled`, at once.

        When it is `late`, as it should have ended by itself, the failure is `timed_out`.
        """
        self._connection.abort(late=late)

    def close(self) -> None:
        """Close the connection without a word."""
        self._mailing.close()
