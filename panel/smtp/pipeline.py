"""Letters at one round trip each, where the server offers PIPELINING (RFC 2920).

MAIL, RCPT and DATA leave in one write, and that write is the one that ends with the body of the letter before
(RFC 2920 section 3.1 lets commands follow a body). So while one letter's final dot is being answered, the next one's
commands are answered as well; its body waits for its own 354, and for what the journal must hold by then.
"""

from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum, auto
from functools import partial

from panel.smtp.connection import done
from panel.smtp.mailing import Mailing
from panel.smtp.outcome import Outcome, Phase
from panel.smtp.reply import Reply
from panel.smtp.submission import Journal, Prepared, Submission, make, prepare
from panel.smtp.trouble import TROUBLE, Broken, Refused, Unsendable


@dataclass(slots=True)
class _Letter:
    """A submission that was taken and can go; `asked` says that its commands left, `cleared` that RSET went ahead."""

    submission: Submission
    ready: Prepared
    asked: bool = False
    cleared: bool = False


@dataclass(slots=True)
class _Impossible:
    """A submission that was taken and cannot go."""

    problem: Exception


class _After(Enum):
    """How a server is left by a letter that it refused before the body."""

    HOLDING = auto()
    """It may still hold a part of the letter."""
    EMPTY = auto()
    LOST = auto()
    """Nobody can tell: the connection is of no more use."""


class Pipeline:
    """Sends letters over one connection; `ride` says whether commands may leave together with a body."""

    def __init__(self, mailing: Mailing, journal: Journal, *, ride: bool) -> None:
        self._mailing = mailing
        self._connection = mailing.connection
        self._transport = mailing.connection.transport
        self._timeouts = mailing.timeouts
        self._journal = journal
        self._ride = ride

    def send_all(self, submissions: Iterable[Submission]) -> Generator[Outcome, None, None]:
        """Yield one outcome for each submission taken, in their order."""
        source = iter(submissions)
        try:
            letter = self._take(source)
            while letter is not None:
                if isinstance(letter, _Impossible):
                    yield self._impossible(letter)
                    letter = self._take(source)
                    continue
                refusal = self._begin(letter)
                if refusal is not None:
                    yield refusal
                    letter = self._take(source) if self._usable else None
                    continue
                following = self._take(source) if self._ride else None
                yield self._finish(letter, following)
                if not self._transport.is_open:
                    if following is not None:
                        yield self._left_behind(following)
                    return
                if not self._ride and self._usable:
                    following = self._take(source)
                letter = following
        finally:
            # Somebody broke off while a letter was under way: whatever was said next would be taken for that letter.
            if self._connection.phase is not Phase.READY:
                self._mailing.close()

    @property
    def _usable(self) -> bool:
        return self._transport.is_open and not self._transport.aborted

    def _take(self, source: Iterator[Submission]) -> _Letter | _Impossible | None:
        submission = next(source, None)
        if submission is None:
            return None
        features = self._connection.features
        try:
            made = make(submission.letter, features)
            sender, recipient = submission.sender, submission.recipient
            return _Letter(submission, prepare(sender=sender, recipient=recipient, made=made, features=features))
        except Exception as problem:  # noqa: BLE001 - it is raised again when the letter's turn comes
            return _Impossible(problem)

    def _impossible(self, letter: _Impossible) -> Outcome:
        """Return the outcome of a letter of which nothing was said, or raise what hindered its making."""
        if not isinstance(letter.problem, Unsendable):
            raise letter.problem
        self._mailing.begin()
        return self._mailing.settle(letter.problem)

    # ---- commands and their replies

    def _begin(self, letter: _Letter) -> Outcome | None:
        """Get the server to ask for a letter's body; return the outcome if it will not."""
        self._mailing.begin()
        try:
            if not letter.asked:
                self._ask(letter)
            self._hear_answers(letter)
        except Refused as trouble:
            return self._refused(trouble)
        except Broken as trouble:
            return self._mailing.settle(trouble)
        return None

    def _ask(self, letter: _Letter) -> None:
        """Say a letter's commands by themselves."""
        connection = self._connection
        connection.phase = Phase.MAIL
        connection.refuse_unasked()
        self._mailing.tell(partial(self._journal.before_envelope, letter.submission))
        self._transport.write(self._commands(letter), connection.deadline(self._timeouts.reply))

    def _commands(self, letter: _Letter) -> bytes:
        letter.asked, letter.cleared = True, self._mailing.needs_rset
        reset = "RSET\r\n" if letter.cleared else ""
        return f"{reset}{letter.ready.mail}\r\n{letter.ready.rcpt}\r\nDATA\r\n".encode()

    def _hear_answers(self, letter: _Letter) -> None:
        """Take the replies to a letter's commands, up to the 354 that asks for its body."""
        connection, seconds = self._connection, self._timeouts.reply
        connection.phase = Phase.MAIL
        if letter.cleared:
            self._mailing.was_reset(self._hear(seconds))
        done(self._hear(seconds))
        self._mailing.mail_answered()
        connection.phase = Phase.RCPT
        done(self._hear(seconds))
        connection.phase = Phase.DATA
        done(self._hear(self._timeouts.data), wanted=354)
        if self._transport.pending:
            # All that was asked is answered, and there can be no reply yet to a final dot that nobody has said.
            connection.refuse_unasked()

    def _hear(self, seconds: float) -> Reply:
        return self._transport.read_reply(self._connection.deadline(seconds))

    # ---- a letter that is refused before its body

    def _refused(self, trouble: Refused) -> Outcome:
        after = self._hear_rest(trouble.reply)
        outcome = self._mailing.settle(trouble)
        if after is _After.LOST:
            self._mailing.close()
        elif after is _After.EMPTY:
            self._mailing.needs_rset = False
        return outcome

    def _hear_rest(self, refusal: Reply) -> _After:
        """Take the replies to the commands that had left behind the one that was refused.

        Whatever they are, the letter is refused; they only decide whether the connection can go on.
        """
        phase, after = self._connection.phase, _After.HOLDING
        if refusal.code == 421:
            return _After.LOST
        try:
            to_somebody = phase is Phase.MAIL and self._hear(self._timeouts.reply).positive
            if phase is not Phase.DATA:
                after = self._answer_to_data(self._hear(self._timeouts.data), to_somebody=to_somebody)
        except TROUBLE:
            return _After.LOST
        return _After.LOST if self._transport.pending else after

    def _answer_to_data(self, reply: Reply, *, to_somebody: bool) -> _After:
        """Take the reply to a DATA that came too late to be held back.

        A server that asks for the letter though it has nobody to give it to gets a lone dot (RFC 2920 section 3.1).
        Were there anybody, that would be an empty letter to them.
        """
        if reply.code == 354 and not to_somebody and not self._transport.pending:
            self._transport.write(b".\r\n", self._connection.deadline(self._timeouts.data))
            return _After.LOST if self._hear(self._timeouts.data).code == 421 else _After.EMPTY
        refused = (reply.temporary or reply.permanent) and reply.code != 421
        return _After.HOLDING if refused else _After.LOST

    # ---- the body

    def _finish(self, letter: _Letter, following: _Letter | _Impossible | None) -> Outcome:
        """Send a letter's body, with the commands of the following one behind it if it can go."""
        mailing, connection = self._mailing, self._connection
        rider = following if isinstance(following, _Letter) else None
        submission = rider.submission if rider is not None else None
        mailing.tell(partial(self._journal.before_body, letter.submission, submission))
        try:
            reply = mailing.body(letter.ready.octets, b"" if rider is None else self._commands(rider))
        except TROUBLE as trouble:
            outcome = mailing.settle(trouble)
        else:
            outcome = mailing.accepted(reply)
            connection.phase = Phase.READY
        if rider is not None and self._transport.is_open:
            connection.phase = Phase.MAIL
        return outcome

    def _left_behind(self, following: _Letter | _Impossible) -> Outcome:
        """Return the outcome of a letter that was to follow when the connection ended."""
        if isinstance(following, _Impossible):
            return self._impossible(following)
        return self._mailing.left_behind()
