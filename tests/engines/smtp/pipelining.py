"""What the tests of pipelining share: a server that answers each letter by plan, and a journal that keeps order."""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from panel.smtp.outcome import Outcome
from panel.smtp.session import Session, Submission
from panel.smtp.wire import WireLetter
from tests.support.mailserver import ClientGone, Peer

OFFERED = ("PIPELINING", "8BITMIME", "SIZE 10000000")


def letter(number: int, text: str = "A line.") -> bytes:
    return f"Subject: {number}\r\n\r\n{text}\r\n.\r\n".encode()


def submission(number: int, made: Callable[[bool], bytes | WireLetter] | bytes | None = None) -> Submission:
    """Letter so-and-so, whose number is in its sender, its recipient and its subject."""
    octets = letter(number) if made is None else made
    return Submission(
        sender=f"n{number}@example.org",
        recipient=f"friend{number}@example.net",
        letter=octets if callable(octets) else lambda _eightbit: octets,
    )


@dataclass
class Book:
    """A journal, and the source of the submissions that it is about; `events` is all that happened, in order."""

    events: list[str] = field(default_factory=list)
    pulled: list[int] = field(default_factory=list)
    on_body: Callable[[int], None] = lambda _number: None
    on_envelope: Callable[[int], None] = lambda _number: None

    def submissions(self, them: Iterable[Submission]) -> Iterator[Submission]:
        for one in them:
            self.events.append(f"pull {_number(one)}")
            self.pulled.append(_number(one))
            yield one

    def letters(self, *numbers: int) -> Iterator[Submission]:
        return self.submissions(submission(number) for number in numbers)

    def before_envelope(self, submission: Submission) -> None:
        self.events.append(f"envelope {_number(submission)}")
        self.on_envelope(_number(submission))

    def before_body(self, submission: Submission, following: Submission | None) -> None:
        behind = f" with {_number(following)}" if following else ""
        self.events.append(f"body {_number(submission)}{behind}")
        self.on_body(_number(submission))

    def send_all(self, client: Session, *numbers: int) -> list[Outcome]:
        """Send these letters and note each outcome."""
        return self.note(client.send_all(self.letters(*numbers), self))

    def note(self, outcomes: Iterator[Outcome]) -> list[Outcome]:
        found = []
        for outcome in outcomes:
            self.events.append(f"{outcome.verdict}")
            found.append(outcome)
        return found


def _number(submission: Submission) -> int:
    return int(re.findall(r"\d+", submission.sender)[0])


@dataclass(frozen=True)
class Plan:
    """What a server says of one letter; None is to hang up. `data_alone` is for DATA without a recipient."""

    mail: str | None = "250 2.1.0 Ok"
    rcpt: str | None = "250 2.1.5 Ok"
    data: str | None = "354 go"
    dot: str | None = "250 2.0.0 Ok"
    data_alone: str | None = "503 5.5.1 no recipient"
    close_after: bool = False

    @property
    def accepts(self) -> bool:
        replies = (self.mail, self.rcpt, self.data, self.dot)
        return all(reply is not None and reply[0] in "23" for reply in replies)


@dataclass
class Planned:
    """A script: a strict server that answers by plan, for the letters that have one.

    With `at_once` it answers only when there is nothing more to read, all in one write; with `pieces` it writes so
    many octets at a time. `accepted` are the numbers of the letters that it took; it takes no letter that is empty.
    """

    plans: dict[int, Plan] = field(default_factory=dict)
    at_once: bool = False
    pieces: int | None = None
    offered: tuple[str, ...] = OFFERED
    accepted: list[int] = field(default_factory=list)
    taken: list[bytes] = field(default_factory=list)
    before_354: Callable[[int], None] = lambda _number: None

    def __call__(self, peer: Peer) -> None:
        peer.greet(*self.offered)
        self.serve(peer)

    def serve(self, peer: Peer) -> None:
        """Everything after EHLO."""
        _Conversation(self, peer).run()


class _Conversation:
    def __init__(self, server: Planned, peer: Peer) -> None:
        self._server, self._peer = server, peer
        self._said = b""
        self._number: int | None = None
        self._has_recipient = False

    def run(self) -> None:
        while True:
            if b"\n" not in self._peer.unheard:
                self._flush()
            verb, argument = self._peer.hear().decode().split(" ", 1)[0], self._peer.heard[-1].decode()
            getattr(self, f"_{verb.lower()}")(argument)

    def _say(self, reply: str | None) -> bool:
        """Say it; hang up after a 421, or instead of a reply. Return whether it was a yes."""
        if reply is not None:
            self._said += reply.encode() + b"\r\n"
        if reply is None or reply.startswith("421"):
            self._flush()
            raise ClientGone
        if not self._server.at_once:
            self._flush()
        return reply[0] in "23"

    def _flush(self) -> None:
        size = self._server.pieces or len(self._said) or 1
        for start in range(0, len(self._said), size):
            self._peer.send(self._said[start : start + size])
        self._said = b""

    @property
    def _plan(self) -> Plan:
        return self._server.plans.get(-1 if self._number is None else self._number, Plan())

    def _mail(self, line: str) -> None:
        assert self._number is None, f"{line} within the transaction of letter {self._number}"
        self._number = int(re.findall(r"FROM:<n(\d+)@", line)[0])
        if not self._say(self._plan.mail):
            # Refused, but what follows in the same write is still about it.
            self._refused_mail = True
            return
        self._refused_mail = False

    def _rcpt(self, line: str) -> None:
        assert f"<friend{self._number}@" in line
        self._has_recipient = self._say("503 5.5.1 MAIL first" if self._refused_mail else self._plan.rcpt)

    def _data(self, _line: str) -> None:
        plan, number = self._plan, self._number
        assert number is not None
        self._server.before_354(number)
        if not self._say(plan.data if self._has_recipient else plan.data_alone):
            return
        if b"\n" not in self._peer.unheard:
            self._flush()
        octets = self._peer.hear_letter()
        self._server.taken.append(octets)
        if not self._has_recipient:
            assert octets == b"", f"a letter to nobody: {octets!r}"
            self._reset()
            self._say("554 5.5.1 no valid recipients")
            return
        assert octets.startswith(b"Subject: %d\r\n" % number), f"not letter {number}: {octets[:100]!r}"
        self._reset()
        if plan.dot is not None and plan.dot.startswith("2"):
            self._server.accepted.append(number)
        self._say(plan.dot)
        if plan.close_after:
            self._flush()
            raise ClientGone

    def _rset(self, _line: str) -> None:
        self._reset()
        self._say("250 2.0.0 Ok")

    def _quit(self, _line: str) -> None:
        self._say("221 2.0.0 Bye")

    def _reset(self) -> None:
        self._number, self._has_recipient, self._refused_mail = None, False, False
