"""A letter as it goes over the wire (RFC 5322, MIME: RFC 2045-2047).

It is put together by hand, as the standard library's EmailMessage costs twenty times as long per letter; the tests
read every letter back with the standard library's parser. The same headers and texts always give the same bytes, so
that a letter as sent can be shown again. Letters of one version, many at a time, are made by `press`, of the same
pieces.
"""

import binascii
import hashlib
import re
import secrets
from base64 import b64encode
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import lru_cache
from typing import Final, Protocol

from panel.message.addresses import one_line

# RFC 5322 §2.1.1: a line must not be longer than 998 octets, and should not be longer than 78.
MAX_LINE: Final = 998
_GOOD_LINE: Final = 76
# RFC 2047 §2: a line with an encoded word has at most 76 characters. Base64 makes 52 of 39 octets, `=?utf-8?b?` and
# `?=` take 12, and the longest field name before them, `Subject: `, takes 9.
_ENCODED_WORD_OCTETS: Final = 39

_ADDR_SPEC = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}@[A-Za-z0-9.-]{1,255}")
_MESSAGE_ID = re.compile(r"<[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]+@[A-Za-z0-9.-]+>")
_LINK = re.compile(r"https?://[\x21-\x3b\x3d\x3f-\x7e]+")
_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_UTC_DATE: Final = "%s, %02d %s %04d %02d:%02d:%02d +0000"
# All of C0 but the newline, and DEL. No octet of a longer UTF-8 sequence is among them.
_CONTROL_OCTETS: Final = bytes({*range(0x20), 0x7F} - {0x0A})


class RenderedTexts(Protocol):
    """What `build` needs of a rendered template: a one-line subject and the two bodies."""

    @property
    def subject(self) -> str: ...
    @property
    def html(self) -> str: ...
    @property
    def text(self) -> str: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class LetterHeaders:
    """Everything in a letter's header but the subject.

    Addresses are ASCII addr-specs (RFC 5322 §3.4.1) as `addresses.normalise` or `canonical` make them; names are any
    text; `date` is aware; `unsubscribe_url` is the one-click link of RFC 8058, absent from letters that nobody can
    unsubscribe from.
    """

    from_name: str
    from_address: str
    to_address: str
    message_id: str
    date: datetime
    to_name: str | None = None
    reply_to: str | None = None
    unsubscribe_url: str | None = None


@dataclass(frozen=True, slots=True)
class Letter:
    """A letter ready for sending; only the transfer encoding is still open."""

    header: bytes
    boundary: bytes
    text: bytes
    html: bytes

    def wire(self, *, eightbit: bool) -> bytes:
        """The letter's octets, in lines that end with CRLF; not dot-stuffed, as that is the SMTP session's part.

        `eightbit` says whether the server takes BODY=8BITMIME (RFC 6152). Without it, and for lines that are too long
        to travel, the bodies are quoted-printable.
        """
        text_encoding, text = _encoded(self.text, eightbit=eightbit)
        html_encoding, html = _encoded(self.html, eightbit=eightbit)
        return b"".join(
            (
                self.header,
                b"\r\n",
                part_start(self.boundary, b"plain", text_encoding),
                text,
                part_start(self.boundary, b"html", html_encoding),
                html,
                parts_end(self.boundary),
            )
        )


def new_message_id(*, domain: str) -> str:
    """A fresh Message-ID (RFC 5322 §3.6.4), in angle brackets. `domain` is the sender's, in A-labels."""
    return f"<{secrets.token_hex(16)}@{domain}>"


def build(*, headers: LetterHeaders, rendered: RenderedTexts) -> Letter:
    """Put a letter together. Names, subject and bodies may be any text and are made to fit.

    Raises ValueError for an address, Message-ID or unsubscribe link that cannot stand in a header field: these are
    the application's own or were checked when they came in, so such a one is a mistake and must not be mailed.
    """
    text, html = _body(rendered.text), _body(rendered.html)
    boundary = boundary_of(headers.message_id, text, html)
    return Letter(header=header_of(headers, rendered.subject, boundary), boundary=boundary, text=text, html=html)


# -- header fields ---------------------------------------------------------------------------------------------------


def header_of(headers: LetterHeaders, subject: str, boundary: bytes) -> bytes:
    """All header fields, each with its CRLF. No line begins with a dot. Raises ValueError as `build` does."""
    reply_to = unsubscribe = ""
    if headers.reply_to:
        reply_to = f"Reply-To: {_checked(_ADDR_SPEC, headers.reply_to, 'Reply-To address')}\r\n"
    if headers.unsubscribe_url:
        # These two are one line each, whatever their length: folded or encoded, receivers do not act on them.
        unsubscribe = (
            f"List-Unsubscribe: <{_checked(_LINK, headers.unsubscribe_url, 'unsubscribe link')}>\r\n"
            "List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"
        )
    return (
        f"From: {_sender(headers.from_name, headers.from_address)}\r\n"
        f"To: {_mailbox(headers.to_name, headers.to_address)}\r\n"
        f"Subject: {_unstructured(subject)}\r\n"
        f"Date: {_date(headers.date)}\r\n"
        f"Message-ID: {_checked(_MESSAGE_ID, headers.message_id, 'Message-ID')}\r\n"
        f"{reply_to}{unsubscribe}"
        "Auto-Submitted: auto-generated\r\n"
        "MIME-Version: 1.0\r\n"
        f'Content-Type: multipart/alternative;\r\n boundary="{boundary.decode()}"\r\n'
    ).encode("ascii")


def _checked(pattern: re.Pattern[str], value: str, what: str) -> str:
    if len(value) > MAX_LINE - 50 or not pattern.fullmatch(value):
        raise ValueError(f"this {what} cannot stand in a letter: {value!r}")
    return value


def _mailbox(name: str | None, address: str) -> str:
    """A mailbox with its display name, if there is one (RFC 5322 §3.4)."""
    addr_spec = _checked(_ADDR_SPEC, address, "address")
    display = one_line(name or "")
    if not display:
        return addr_spec
    if display.isascii() and len(display) <= _GOOD_LINE - 16 and "=?" not in display:
        quoted = display.replace("\\", "\\\\").replace('"', '\\"')
        written = f'"{quoted}"'
    else:
        written = _encoded_words(display)
    last_line = len(written) - (written.rfind("\n") + 1) + len("Reply-To: ")
    separator = " " if last_line + len(addr_spec) + 3 <= _GOOD_LINE else "\r\n "
    return f"{written}{separator}<{addr_spec}>"


_sender = lru_cache(maxsize=256)(_mailbox)  # an account has few of them


def _date(date: datetime) -> str:
    """What email.utils.format_datetime writes, at a fifth of its time for dates in UTC."""
    if date.tzinfo is not UTC:
        return format_datetime(date)
    return _UTC_DATE % (
        _DAYS[date.weekday()],
        date.day,
        _MONTHS[date.month - 1],
        date.year,
        date.hour,
        date.minute,
        date.second,
    )


def _unstructured(text: str) -> str:
    """A subject: as it is where it is ASCII, folded at its blanks if need be, else in encoded words."""
    text = one_line(text)
    if not text.isascii() or "=?" in text:
        return _encoded_words(text)
    if len(text) + len("Subject: ") <= _GOOD_LINE:
        return text
    words = text.split(" ")
    if max(map(len, words)) > _GOOD_LINE - len("Subject: "):
        return _encoded_words(text)
    lines = [words[0]]
    for word in words[1:]:
        room = _GOOD_LINE - (len("Subject: ") if len(lines) == 1 else 1)
        if len(lines[-1]) + 1 + len(word) <= room:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return "\r\n ".join(lines)


def _encoded_words(text: str) -> str:
    """Encoded words (RFC 2047), one a line, none of which splits a character."""
    octets = text.encode()
    words: list[str] = []
    start = 0
    while start < len(octets):
        end = start + _ENCODED_WORD_OCTETS
        while end < len(octets) and octets[end] & 0xC0 == 0x80:  # in the middle of a character
            end -= 1
        words.append(f"=?utf-8?b?{b64encode(octets[start:end]).decode()}?=")
        start = end
    return "\r\n ".join(words)


# -- bodies ----------------------------------------------------------------------------------------------------------


def body_lines(text: str) -> bytes:
    """Text in UTF-8, its lines ended by CRLF, without control characters.

    Of whole lines of a text it makes the same as of the text, as it looks at one line at a time; that also holds for
    the encoding and the measuring of bodies below, and is what `press` builds on.
    """
    octets = text.encode(errors="replace")
    if b"\r" in octets:
        octets = octets.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return octets.translate(None, _CONTROL_OCTETS).replace(b"\n", b"\r\n")


def _body(text: str) -> bytes:
    """A whole body. Its last CRLF belongs to the boundary after it (RFC 2046 §5.1.1), so a reader does not see it."""
    return body_lines(text).rstrip(b"\r\n") + b"\r\n"


def boundary_of(message_id: str, *bodies: bytes) -> bytes:
    """A boundary that always is the same for the same letter and occurs in no body (RFC 2046 §5.1.1)."""
    digest = message_id.encode()
    is_free = False
    while not is_free:
        digest = hashlib.sha256(digest).hexdigest()[:40].encode()
        is_free = True
        for body in bodies:
            if digest in body:
                is_free = False
    return b"=_" + digest


def lines_fit(body: bytes) -> bool:
    """Whether no line is too long to travel as it is."""
    return len(body) <= MAX_LINE or max(map(len, body.split(b"\r\n"))) <= MAX_LINE


def quoted_printable(body: bytes) -> bytes:
    """Lines in quoted-printable (RFC 2045 §6.7)."""
    return binascii.b2a_qp(body, istext=True)


def encoding_of(*, is_ascii: bool, fits: bool, eightbit: bool) -> bytes:
    """The Content-Transfer-Encoding that a body needs: as little as the server and its lines allow."""
    if (eightbit or is_ascii) and fits:
        return b"7bit" if is_ascii else b"8bit"
    return b"quoted-printable"


def part_start(boundary: bytes, subtype: bytes, encoding: bytes) -> bytes:
    """The boundary before a part, with the part's header fields."""
    return b"--%b\r\nContent-Type: text/%b; charset=utf-8\r\nContent-Transfer-Encoding: %b\r\n\r\n" % (
        boundary,
        subtype,
        encoding,
    )


def parts_end(boundary: bytes) -> bytes:
    """The boundary after the last part."""
    return b"--%b--\r\n" % boundary


def _encoded(body: bytes, *, eightbit: bool) -> tuple[bytes, bytes]:
    """The name of the body's transfer encoding, and the body so encoded."""
    encoding = encoding_of(is_ascii=body.isascii(), fits=lines_fit(body), eightbit=eightbit)
    return encoding, quoted_printable(body) if encoding == b"quoted-printable" else body
