"""What is handed to a session to be sent, and made ready for the wire."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from panel.smtp.features import Features
from panel.smtp.outcome import About
from panel.smtp.trouble import Unsendable
from panel.smtp.wire import WireLetter, mailbox, terminated

_FINAL_DOT = b".\r\n"

MakeLetter = Callable[[bool], bytes | WireLetter]
"""Makes a letter's lines, or the letter as it goes out; told whether the server takes 8BITMIME (RFC 6152), and must
return ASCII if not."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Submission:
    """One letter to one recipient: what `Session.send_all` takes. It equals only itself."""

    sender: str
    recipient: str
    letter: MakeLetter


class Journal(Protocol):
    """What must be written down before octets leave; whatever it raises closes the socket and is passed on."""

    def before_envelope(self, submission: Submission) -> None:
        """MAIL of this letter is about to leave, with no body in front of it."""

    def before_body(self, submission: Submission, following: Submission | None) -> None:
        """The body of `submission` is about to leave, and in the same write the envelope of `following`, if any."""


@dataclass(frozen=True, slots=True)
class Made:
    """A letter with its final dot; `size` is that of RFC 1870, without it and without the dots that were stuffed."""

    octets: bytes
    size: int
    ascii: bool


def make(letter: MakeLetter, features: Features) -> Made:
    """Make a letter. Raises ValueError where the server would get octets that it did not offer to take."""
    made = letter(features.eightbitmime)
    if isinstance(made, WireLetter):
        ready = Made(made.octets, len(made.octets) - len(_FINAL_DOT), made.ascii)
        if features.size and ready.size > features.size:
            ready = Made(made.octets, ready.size - _stuffed(made.octets), made.ascii)
    else:
        ready = Made(terminated(made), len(made), made.isascii())
    if not ready.ascii and not features.eightbitmime:
        raise ValueError("the letter must be ASCII for a server without 8BITMIME")
    return ready


def _stuffed(octets: bytes) -> int:
    return octets.count(b"\r\n..") + octets.startswith(b"..")


@dataclass(frozen=True, slots=True)
class Prepared:
    """A letter that can go out: its commands without line ends, and its octets with the final dot.

    Without octets it is only a question whether the server would take it.
    """

    sender: str
    recipient: str
    mail: str
    rcpt: str
    octets: bytes


def prepare(*, sender: str, recipient: str, made: Made | None, features: Features) -> Prepared:
    """Put a letter and its commands together (RFC 5321 sections 4.1.1.2 and 4.1.1.3, with RFC 1870, 6152 and 6531).

    Raises Unsendable when this server would not take it anyway.
    """
    from_path, to_path = mailbox(sender, about=About.SENDER), mailbox(recipient, about=About.RECIPIENT)
    mail, rcpt = f"MAIL FROM:<{from_path}>", f"RCPT TO:<{to_path}>"
    if not (from_path.isascii() and to_path.isascii()):
        if not features.smtputf8:
            about = About.RECIPIENT if from_path.isascii() else About.SENDER
            raise Unsendable(about, "The server does not take addresses with letters beyond ASCII.")
        mail += " SMTPUTF8"
    if made is None:
        return Prepared(sender, recipient, mail, rcpt, b"")
    if features.size and made.size > features.size:
        raise Unsendable(About.MESSAGE, f"The server takes letters of at most {features.size:,} bytes.")
    if features.size is not None:
        mail += f" SIZE={made.size}"
    if not made.ascii:
        mail += " BODY=8BITMIME"
    return Prepared(sender, recipient, mail, rcpt, made.octets)
