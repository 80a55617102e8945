"""Replies: read strictly and within bounds (RFC 5321 section 4.2), and made safe to show."""

import base64
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

MAX_LINE = 4096
"""Octets of one reply line. RFC 5321 section 4.5.3.1.5 says 512; some servers put long links into theirs."""
MAX_LINES = 200
MAX_TOTAL = 64 * 1024
"""Octets of a whole reply of many lines."""
MAX_SHOWN = 600
"""Characters of a reply that are shown to a person."""

BLOT = "[hidden]"

_ONE_LINE = {b"%d " % code: code for code in range(200, 600)}
_CR = ord("\r")
_ENHANCED = re.compile(r"([245])\.\d{1,3}\.\d{1,3}(?!\S)")
_ESCAPE_SEQUENCE = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]?|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[!-/]+.?|.)?|\x9b[0-?]*[ -/]*[@-~]?"
)


class MalformedReply(Exception):
    """What came is not a reply.

    `foreign` says that it does not even begin like one: on connecting, another service than mail is listening.
    """

    def __init__(self, reason: str, *, foreign: bool = False) -> None:
        super().__init__(reason)
        self.foreign = foreign


@dataclass(frozen=True, slots=True)
class Reply:
    """One reply: its code and the text of its lines, without code, separator and line end."""

    code: int
    lines: tuple[bytes, ...]

    @property
    def positive(self) -> bool:
        """2yz: done."""
        return 200 <= self.code < 300

    @property
    def temporary(self) -> bool:
        """4yz: not now."""
        return 400 <= self.code < 500

    @property
    def permanent(self) -> bool:
        """5yz: no."""
        return self.code >= 500

    @property
    def enhanced(self) -> str | None:
        """The enhanced status code (RFC 2034, RFC 3463), where there is one that agrees with the reply code."""
        match = _ENHANCED.match(self._decoded(0))
        return match.group() if match and match.group(1) == str(self.code)[0] else None

    @property
    def text(self) -> str:
        """All lines as one, the enhanced status code that each repeats given once; not yet cleaned."""
        enhanced = self.enhanced
        words = [self._decoded(number) for number in range(len(self.lines))]
        if enhanced:
            words = [words[0], *(line.removeprefix(enhanced).lstrip() for line in words[1:])]
        return " ".join(words)

    def beginning(self, octets: int) -> "Reply":
        """The reply as it is up to so many octets of its lines."""
        lines: list[bytes] = []
        for line in self.lines:
            if octets <= 0:
                break
            lines.append(line[:octets])
            octets -= len(line)
        return Reply(self.code, tuple(lines))

    def _decoded(self, number: int) -> str:
        return self.lines[number].decode("utf-8", "replace")


class ReplyReader:
    """Turns octets, in whatever pieces they come, into replies; holds no more than one bounded reply.

    A line ends in CRLF; a lone LF is taken too, as some old servers send it and nothing depends on it here.
    """

    def __init__(self) -> None:
        self._buffer = b""
        self._code = b""
        self._lines: list[bytes] = []
        self._total = 0

    @property
    def pending(self) -> bool:
        """Whether octets have come that belong to no reply asked for so far."""
        return bool(self._buffer)

    @property
    def held(self) -> int:
        """How many octets have come that belong to no reply asked for so far."""
        return len(self._buffer)

    def feed(self, octets: bytes) -> None:
        """Take what was received."""
        self._buffer = self._buffer + octets if self._buffer else octets

    def next(self) -> Reply | None:
        """Return the next whole reply, or None when more octets are needed. Raises MalformedReply."""
        buffer = self._buffer
        end = buffer.find(b"\n")
        if 0 <= end <= MAX_LINE and not self._lines and (code := _ONE_LINE.get(buffer[:4])):
            # Nearly every reply is one line, and this is all there is to it.
            self._buffer = buffer[end + 1 :]
            return Reply(code, (buffer[4 : end - 1 if buffer[end - 1] == _CR else end],))
        return self._next_of_lines()

    def _next_of_lines(self) -> Reply | None:
        while True:
            end = self._buffer.find(b"\n")
            if self._buffer and not self._begins_like_a_reply():
                raise MalformedReply("The server sent something that is not an SMTP reply.", foreign=not self._lines)
            if (len(self._buffer) if end < 0 else end) > MAX_LINE:
                raise MalformedReply("The server sent a line that is far too long.")
            if end < 0:
                return None
            reply = self._take_line(end)
            if reply is not None:
                return reply

    def _take_line(self, end: int) -> Reply | None:
        line = self._buffer[:end].removesuffix(b"\r")
        self._buffer = self._buffer[end + 1 :]
        code, last = line[:3], line[3:4] != b"-"
        if self._lines and code != self._code:
            raise MalformedReply("The server’s reply changed its code from one line to the next.")
        self._lines.append(line[4:])
        self._total += len(line)
        if len(self._lines) > MAX_LINES or self._total > MAX_TOTAL:
            raise MalformedReply("The server’s reply does not end.")
        if not last:
            self._code = code
            return None
        reply = Reply(int(code), tuple(self._lines))
        self._lines, self._total = [], 0
        return reply

    def _begins_like_a_reply(self) -> bool:
        """Whether what has come of a line fits: three digits from 200, then a space, '-' or the line's end."""
        shapes = (b"2345", b"0123456789", b"0123456789", b" -\r\n")
        return all(octet in shape for octet, shape in zip(self._buffer[:4], shapes, strict=False))


class Cleaner:
    """Makes a server's words safe to show: one bounded line of printable characters, our secrets blotted out.

    Terminal escapes, control and format characters (which turn text around) go. A server may echo what we said, so
    each secret is blotted in any case, as it is and in base64. HTML is not escaped: that is for whoever shows it.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._forms: set[str] = set()
        self._secret: re.Pattern[str] | None = None
        self.hide(*secrets)

    def hide(self, *secrets: str) -> None:
        """Blot these out as well, from now on."""
        for secret in secrets:
            encoded = base64.b64encode(secret.encode("utf-8", "surrogatepass")).decode()
            self._forms |= {_printable(secret), encoded.rstrip("=")} - {""}
        if self._forms:
            # The longest first, so that no form hides a piece of a longer one and leaves its rest.
            forms = sorted(self._forms, key=len, reverse=True)
            self._secret = re.compile(f"(?:{'|'.join(map(re.escape, forms))})=*", re.IGNORECASE)

    def __call__(self, text: str) -> str:
        shown = _printable(text)
        if self._secret is not None:
            shown = self._secret.sub(BLOT, shown)
        return shown if len(shown) <= MAX_SHOWN else shown[: MAX_SHOWN - 1] + "…"


def clean(text: str, secrets: Iterable[str] = ()) -> str:
    """Return a server's words as they may be shown; see `Cleaner`."""
    return Cleaner(secrets)(text)


def _printable(text: str) -> str:
    if not text.isprintable():
        kept = (
            " " if char.isspace() else char
            for char in _ESCAPE_SEQUENCE.sub(" ", text)
            if char.isspace() or unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Co", "Cn")
        )
        text = "".join(kept)
    return " ".join(text.split())
