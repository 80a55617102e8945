"""The one way to talk to a mail server: a blocking SMTP client (RFC 5321) that always knows how far it got."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from panel.smtp.connection import Connection, done, shown
from panel.smtp.destination import DestinationPolicy, Resolver, system_resolver
from panel.smtp.diagnosis import diagnose, verdict_of_break
from panel.smtp.features import Features
from panel.smtp.outcome import About, FailureCode, Outcome, Phase, SmtpFailure, Verdict
from panel.smtp.reply import Reply
from panel.smtp.settings import ServerSettings
from panel.smtp.steps import Observer, Step, StepReporter
from panel.smtp.timeouts import Timeouts
from panel.smtp.tls import TlsSummary
from panel.smtp.trouble import TROUBLE, Broken, Refused, Unsendable
from panel.smtp.wire import mailbox, terminated

LAST_CHUNK = 64 * 1024
"""Octets at a letter's end that are handed over at once, final dot included. The usual letter fits in whole."""

MakeLetter = Callable[[bool], bytes]
"""Makes a letter's lines; it is told whether the server takes 8BITMIME (RFC 6152) and must return ASCII if not."""

_TRANSACTION = (Phase.MAIL, Phase.RCPT, Phase.DATA)
_CREDENTIALS = (FailureCode.AUTH_UNAVAILABLE, FailureCode.AUTH_NEEDS_TLS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """One letter to one recipient: what `Session.send` takes."""

    sender: str
    recipient: str
    letter: MakeLetter
    before_body: Callable[[], None]


class Session:
    """One connection to one server, for any number of letters.

    `open()`, then `probe()` or `send()` for as long as it is `reusable`, then `quit()` and `close()`; as a context
    manager it closes by itself. All of it belongs to one thread, but for `abort()` and reading `phase`. The `observer`
    is told each step; once it raises, it is told no more.
    """

    def __init__(
        self,
        *,
        settings: ServerSettings,
        policy: DestinationPolicy,
        ehlo_name: str,
        timeouts: Timeouts | None = None,
        observer: Observer | None = None,
        resolver: Resolver = system_resolver,
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
        self._needs_rset = False
        self._bytes_sent = 0

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

    def open(self) -> None:
        """Look up, connect, greet, encrypt, say hello and sign in. Raises SmtpFailure."""
        now, connection = time.monotonic(), self._connection
        whole = float("inf") if self._timeouts.session is None else now + self._timeouts.session
        connection.end = min(whole, now + self._timeouts.open)
        try:
            connection.open()
        except TROUBLE as trouble:
            raise SmtpFailure(self._settle(trouble)) from trouble
        connection.end, connection.phase = whole, Phase.READY

    def probe(self, *, sender: str, recipient: str) -> None:
        """Ask whether the server would take a letter: MAIL, RCPT and RSET, never DATA. Raises SmtpFailure."""
        try:
            self._envelope(sender, recipient)
        except TROUBLE as trouble:
            raise SmtpFailure(self._settle(trouble)) from trouble
        self._needs_rset = True
        self._connection.phase = Phase.READY
        try:
            self._clear()
        except TROUBLE:
            # The question is answered; only the connection is of no more use.
            self.close()

    def send(self, *, sender: str, recipient: str, letter: MakeLetter, before_body: Callable[[], None]) -> Outcome:
        """Send one letter and say what came of it; nothing that has to do with mail is raised.

        `before_body` is called when the server has asked for the letter and none of it has left. What it raises is
        passed on, with the connection closed and no final dot said, which would have sent an empty letter. What
        `letter` raises is passed on, too; then nothing was said yet, and the connection stays.
        """
        octets = letter(self.features.eightbitmime)
        if not octets.isascii() and not self.features.eightbitmime:
            raise ValueError("the letter must be ASCII for a server without 8BITMIME")
        try:
            self._envelope(sender, recipient, octets)
            self._data()
            self._call(before_body)
            reply = self._body(terminated(octets))
        except TROUBLE as trouble:
            return self._settle(trouble)
        self._connection.ok("The server has accepted the letter.", reply)
        self._connection.phase = Phase.READY
        return self._outcome(Verdict.ACCEPTED, About.MESSAGE, Phase.FINAL_DOT, reply=reply)

    def send_all(self, submissions: Iterable[Submission]) -> Iterator[Outcome]:
        """Send letters in turn and yield each one's outcome; end early when the connection is of no more use.

        A submission may be asked for before the outcome of the one before it is yielded, so that both can share a
        round trip one day; its `before_body` is called only after that outcome was taken.
        """
        for submission in submissions:
            yield self.send(
                sender=submission.sender,
                recipient=submission.recipient,
                letter=submission.letter,
                before_body=submission.before_body,
            )
            if not self.reusable:
                return

    def quit(self) -> None:
        """Say QUIT and close. A 421, a hang or nonsense in answer changes nothing of what was done before."""
        connection = self._connection
        if connection.transport.is_open:
            self._steps.running(Step.QUIT)
            connection.phase, connection.end = Phase.QUIT, float("inf")
            try:
                connection.command(b"QUIT", self._timeouts.quit)
            except TROUBLE:
                connection.ok("The server hung up without a goodbye, which does no harm.")
            else:
                connection.ok("The server said goodbye.")
        self.close()

    def abort(self) -> None:
        """End it from another thread: what is going on ends with the failure `canceled`, at once."""
        self._connection.abort()

    def close(self) -> None:
        """Close the connection without a word."""
        self._connection.transport.close()
        self._connection.phase = Phase.CLOSED

    def _envelope(self, sender: str, recipient: str, octets: bytes | None = None) -> None:
        connection = self._connection
        self._bytes_sent = 0
        self._steps.running(Step.SENDER)
        from_path, to_path = mailbox(sender, about=About.SENDER), mailbox(recipient, about=About.RECIPIENT)
        options = self._mail_options(from_path, to_path, octets)
        self._clear()
        connection.phase = Phase.MAIL
        reply = done(connection.command(f"MAIL FROM:<{from_path}>{options}".encode(), self._timeouts.reply))
        connection.ok(f"The server takes mail from {sender}.", reply)
        connection.phase = Phase.RCPT
        self._steps.running(Step.RECIPIENT)
        reply = done(connection.command(f"RCPT TO:<{to_path}>".encode(), self._timeouts.reply))
        connection.ok(f"The server takes mail for {recipient}.", reply)

    def _mail_options(self, from_path: str, to_path: str, octets: bytes | None) -> str:
        features, options = self.features, ""
        for path, about in ((from_path, About.SENDER), (to_path, About.RECIPIENT)):
            if not path.isascii():
                if not features.smtputf8:
                    raise Unsendable(about, "The server does not take addresses with letters beyond ASCII.")
                options = " SMTPUTF8"
        if octets is None:
            return options
        if features.size and len(octets) > features.size:
            raise Unsendable(About.MESSAGE, f"The server takes letters of at most {features.size:,} bytes.")
        if not octets.isascii():
            options = " BODY=8BITMIME" + options
        return options if features.size is None else f" SIZE={len(octets)}{options}"

    def _clear(self) -> None:
        """Take back what is left of a letter that did not come about (RSET)."""
        if not self._needs_rset:
            return
        reply = self._connection.command(b"RSET", self._timeouts.reply)
        if reply.code == 421:
            raise Refused(reply)
        if not reply.positive:
            raise Broken(FailureCode.PROTOCOL_ERROR, "The server would not let go of the letter before.")
        self._needs_rset = False

    def _data(self) -> None:
        connection = self._connection
        connection.phase = Phase.DATA
        self._steps.running(Step.DATA)
        done(connection.command(b"DATA", self._timeouts.data), wanted=354)
        # A reply sent ahead would be taken for the one to the final dot.
        connection.refuse_unasked()

    def _call(self, before_body: Callable[[], None]) -> None:
        try:
            before_body()
        except BaseException:
            self.close()
            raise

    def _body(self, octets: bytes) -> Reply:
        connection, transport = self._connection, self._connection.transport
        view, last = memoryview(octets), max(0, len(octets) - LAST_CHUNK)
        deadline = connection.deadline(self._timeouts.body)
        connection.phase = Phase.BODY
        if last:
            transport.write(view[:last], deadline)
            self._bytes_sent = last
        # From here on it cannot be known whether the server has the final dot until it says so.
        connection.phase = Phase.FINAL_DOT
        transport.write(view[last:], deadline)
        self._bytes_sent = len(octets)
        return done(transport.read_reply(connection.deadline(self._timeouts.final_dot)))

    def _settle(self, trouble: Broken | Refused | Unsendable) -> Outcome:
        """Turn trouble into an outcome and leave the connection either fit for the next letter or closed."""
        connection, phase = self._connection, self.phase
        if isinstance(trouble, Refused):
            found = diagnose(phase=phase, reply=trouble.reply)
            outcome = self._outcome(found.verdict, found.about, phase, failure=found.failure, reply=trouble.reply)
        elif isinstance(trouble, Unsendable):
            outcome = self._outcome(
                Verdict.PERMANENT, trouble.about, phase, failure=_UNSENDABLE[trouble.about], detail=trouble.detail
            )
        else:
            about = About.CREDENTIALS if trouble.failure in _CREDENTIALS else About.SERVER
            verdict = verdict_of_break(phase=phase, failure=trouble.failure)
            outcome = self._outcome(verdict, about, phase, failure=trouble.failure, detail=trouble.detail)
        self._steps.failed(outcome)
        if isinstance(trouble, Broken) or outcome.code == 421:
            self.close()
        elif phase in (*_TRANSACTION, Phase.FINAL_DOT):
            self._needs_rset = phase in _TRANSACTION
            connection.phase = Phase.READY
        return outcome

    def _outcome(
        self,
        verdict: Verdict,
        about: About,
        phase: Phase,
        *,
        failure: FailureCode | None = None,
        reply: Reply | None = None,
        detail: str = "",
    ) -> Outcome:
        return Outcome(
            verdict=verdict,
            about=about,
            phase=phase,
            failure=failure,
            code=reply.code if reply else None,
            enhanced=reply.enhanced if reply else None,
            reply=shown(reply, self._connection.clean) if reply else None,
            detail=detail,
            bytes_sent=self._bytes_sent,
        )


_UNSENDABLE = {
    About.SENDER: FailureCode.SENDER_REFUSED,
    About.RECIPIENT: FailureCode.RECIPIENT_REFUSED,
    About.MESSAGE: FailureCode.MESSAGE_REFUSED,
}
