"""Letters over one open connection: how each is sent, and what is known of it when something goes wrong."""

import time
from collections.abc import Callable
from dataclasses import replace

from panel.smtp.connection import Connection, done, shown
from panel.smtp.diagnosis import diagnose, verdict_of_break
from panel.smtp.outcome import About, FailureCode, Outcome, Phase, Verdict
from panel.smtp.reply import Reply
from panel.smtp.steps import Step
from panel.smtp.submission import Prepared
from panel.smtp.timeouts import Timeouts
from panel.smtp.trouble import TROUBLE, Broken, Refused, SpokeEarly, Unsendable

LAST_CHUNK = 64 * 1024
"""Octets at a letter's end that are handed over at once, final dot included. The usual letter fits in whole."""
IDLE = 5.0
"""Seconds after opening; a server that hangs up on a connection that was not used for so long may have tired of it."""

_REMEMBERED = 32
_TRANSACTION = (Phase.MAIL, Phase.RCPT, Phase.DATA)
_CREDENTIALS = (FailureCode.AUTH_UNAVAILABLE, FailureCode.AUTH_NEEDS_TLS)


class Mailing:
    """What the ways of sending share: the octets of a letter on their way, and the outcome of whatever happens.

    `needs_rset` says that the server may still hold a part of a letter that did not come about.
    """

    def __init__(self, connection: Connection, timeouts: Timeouts) -> None:
        self.connection = connection
        self.timeouts = timeouts
        self.needs_rset = False
        self._opened_at = 0.0
        self._used = False
        self._may_be_stale = False
        self._body_from = 0
        self._body_octets = 0
        self._said: dict[Reply, tuple[str | None, str]] = {}

    def opened(self) -> None:
        """Take note that the connection is ready for its first letter."""
        self.connection.phase = Phase.READY
        self._opened_at = time.monotonic()

    def close(self) -> None:
        """Close the connection without a word."""
        self.connection.transport.close()
        self.connection.phase = Phase.CLOSED

    def begin(self) -> None:
        """Take note that a letter's turn has come: until its MAIL is answered, its connection may prove to be stale."""
        self._body_octets = 0
        self._may_be_stale = self._used or time.monotonic() - self._opened_at > IDLE
        self._used = True

    def tell(self, listener: Callable[[], None]) -> None:
        """Tell whoever must know before octets leave. What it raises is passed on, with nothing said any more.

        A final dot would send an empty letter, and so would everything short of hanging up.
        """
        try:
            listener()
        except BaseException:
            self.close()
            raise

    # ---- step by step (RFC 5321 section 3.3)

    def stepwise(
        self, letter: Prepared, *, before_envelope: Callable[[], None], before_body: Callable[[], None]
    ) -> Outcome:
        """Send a letter with one round trip a command."""
        connection = self.connection
        connection.phase = Phase.MAIL
        try:
            connection.refuse_unasked()
            self.tell(before_envelope)
            self.say_envelope(letter)
            connection.phase = Phase.DATA
            connection.steps.running(Step.DATA)
            done(connection.command(b"DATA", self.timeouts.data), wanted=354)
            connection.refuse_unasked()
            self.tell(before_body)
            reply = self.body(letter.octets)
        except TROUBLE as trouble:
            return self.settle(trouble)
        connection.ok("The server has accepted the letter.", reply)
        connection.phase = Phase.READY
        return self.accepted(reply)

    def say_envelope(self, letter: Prepared) -> None:
        """Say MAIL and RCPT, and hear a yes to both."""
        connection = self.connection
        if self.needs_rset:
            self.reset()
        connection.phase = Phase.MAIL
        reply = done(connection.command(letter.mail.encode(), self.timeouts.reply))
        self.mail_answered()
        connection.ok(f"The server takes mail from {letter.sender}.", reply)
        connection.phase = Phase.RCPT
        connection.steps.running(Step.RECIPIENT)
        reply = done(connection.command(letter.rcpt.encode(), self.timeouts.reply))
        connection.ok(f"The server takes mail for {letter.recipient}.", reply)

    def mail_answered(self) -> None:
        """Take note that the server has answered a letter's MAIL, so that all that follows is its own doing."""
        self._may_be_stale = False

    def reset(self) -> None:
        """Take back what is left of a letter that did not come about (RFC 5321 section 4.1.1.5)."""
        self.was_reset(self.connection.command(b"RSET", self.timeouts.reply))

    def was_reset(self, reply: Reply) -> None:
        """Take the reply to RSET."""
        if reply.code == 421:
            raise Refused(reply)
        if not reply.positive:
            raise Broken(FailureCode.PROTOCOL_ERROR, "The server would not let go of the letter before.")
        self.needs_rset = False

    # ---- the letter itself

    def body(self, octets: bytes, behind: bytes = b"") -> Reply:
        """Send a letter, the commands of the next one right `behind` it, and return a yes to its final dot."""
        connection, transport = self.connection, self.connection.transport
        # A reply sent ahead would be taken for the one to the final dot.
        connection.refuse_unasked()
        self._body_from, self._body_octets = transport.written, len(octets)
        try:
            self._write_body(octets, behind, connection.deadline(self.timeouts.body))
        except (Broken, SpokeEarly) as trouble:
            if self._bytes_sent < len(octets):
                # The network never got the final dot, so that the server cannot have it (RFC 5321 section 4.1.1.10).
                connection.phase = Phase.BODY
            if isinstance(trouble, SpokeEarly):
                self._spoke_early()
            raise
        return done(transport.read_reply(connection.deadline(self.timeouts.final_dot)))

    def _write_body(self, octets: bytes, behind: bytes, deadline: float) -> None:
        connection, transport = self.connection, self.connection.transport
        last = octets
        if len(octets) > LAST_CHUNK:
            connection.phase = Phase.BODY
            view, last = memoryview(octets)[:-LAST_CHUNK], octets[-LAST_CHUNK:]
            transport.write(view, deadline, unanswered=len(view))
            if transport.look():
                raise SpokeEarly
        # From here on another thread cannot know whether the server has the final dot.
        connection.phase = Phase.FINAL_DOT
        transport.write(last + behind if behind else last, deadline, unanswered=len(last))

    def _spoke_early(self) -> None:
        """Hear what a server says that does not wait for the end of a letter: a no is one; a yes cannot be."""
        connection = self.connection
        reply = connection.transport.read_reply(connection.deadline(self.timeouts.reply))
        if reply.temporary or reply.permanent:
            raise Refused(reply)
        raise Broken(FailureCode.PROTOCOL_ERROR, "The server answered before it had the whole letter.")

    @property
    def _bytes_sent(self) -> int:
        return max(0, min(self.connection.transport.written - self._body_from, self._body_octets))

    # ---- outcomes

    def accepted(self, reply: Reply) -> Outcome:
        """Return the outcome of a letter whose final dot was answered with a yes."""
        return self._outcome(Verdict.ACCEPTED, About.MESSAGE, Phase.FINAL_DOT, reply=reply)

    def settle(self, trouble: Broken | Refused | Unsendable) -> Outcome:
        """Turn trouble into an outcome and leave the connection either fit for the next letter or closed."""
        connection, phase = self.connection, self.connection.phase
        outcome = self._outcome_of(trouble, phase)
        connection.steps.failed(outcome)
        if isinstance(trouble, Broken) or outcome.code == 421 or phase is Phase.BODY:
            self.close()
        elif phase in (*_TRANSACTION, Phase.FINAL_DOT):
            self.needs_rset = phase in _TRANSACTION
            connection.phase = Phase.READY
        return outcome

    def left_behind(self) -> Outcome:
        """Return the outcome of a letter whose commands left, if at all, when its connection was about to end."""
        self.begin()
        canceled = self.connection.transport.aborted
        return self._outcome(
            Verdict.NOT_SENT,
            About.SERVER,
            Phase.MAIL,
            failure=FailureCode.CANCELED if canceled else FailureCode.PROTOCOL_ERROR,
            detail="Canceled." if canceled else "The connection ended with the letter before.",
            stale=not canceled,
        )

    def _outcome_of(self, trouble: Broken | Refused | Unsendable, phase: Phase) -> Outcome:
        if isinstance(trouble, Refused):
            # Who refuses a letter before its end says what its final dot would have asked for.
            found = diagnose(phase=Phase.FINAL_DOT if phase is Phase.BODY else phase, reply=trouble.reply)
            # A 421 for a quota says something of the server, whenever it comes.
            stale = self._may_be_stale and trouble.reply.code == 421 and found.about is About.SERVER
            outcome = self._outcome(
                found.verdict, found.about, phase, failure=found.failure, reply=trouble.reply, stale=stale
            )
            return replace(outcome, renews=found.renews, come_back=found.come_back)
        if isinstance(trouble, Unsendable):
            failure = _UNSENDABLE[trouble.about]
            return self._outcome(Verdict.PERMANENT, trouble.about, phase, failure=failure, detail=trouble.detail)
        return self._outcome(
            verdict_of_break(phase=phase, failure=trouble.failure),
            About.CREDENTIALS if trouble.failure in _CREDENTIALS else About.SERVER,
            phase,
            failure=trouble.failure,
            detail=trouble.detail,
            stale=self._may_be_stale and trouble.hung_up,
        )

    def _outcome(
        self,
        verdict: Verdict,
        about: About,
        phase: Phase,
        *,
        failure: FailureCode | None = None,
        reply: Reply | None = None,
        detail: str = "",
        stale: bool = False,
    ) -> Outcome:
        enhanced, words = (None, None) if reply is None else self._words(reply)
        return Outcome(
            verdict=verdict,
            about=about,
            phase=phase,
            failure=failure,
            code=None if reply is None else reply.code,
            enhanced=enhanced,
            reply=words,
            detail=detail,
            bytes_sent=self._bytes_sent,
            stale=stale,
        )

    def _words(self, reply: Reply) -> tuple[str | None, str]:
        """Return a reply's enhanced status code and its words as they may be shown; most servers repeat themselves."""
        known = self._said.get(reply)
        if known is None:
            if len(self._said) >= _REMEMBERED:
                self._said.clear()
            known = self._said[reply] = reply.enhanced, shown(reply, self.connection.clean)
        return known


_UNSENDABLE = {
    About.SENDER: FailureCode.SENDER_REFUSED,
    About.RECIPIENT: FailureCode.RECIPIENT_REFUSED,
    About.MESSAGE: FailureCode.MESSAGE_REFUSED,
}
