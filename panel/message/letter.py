"""A letter as it goes over the wire (RFC 5322, MIME: RFC 2045-2047).

It is put together by hand, as the standard library's EmailMessage costs twenty times as long per letter; the tests
read every letter back with the standard library's parser. The same headers and texts always give the same bytes, so
that a letter as sent can be shown again.
"""

import binascii
import hashlib
import re
import secrets
from base64 import b64encode
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime
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
        return b"".join(
            (
                self.header,
                b"\r\n--" + self.boundary + b"\r\nContent-Type: text/plain; charset=utf-8\r\n",
                *_encoded(self.text, eightbit=eightbit),
                b"--" + self.boundary + b"\r\nContent-Type: text/html; charset=utf-8\r\n",
                *_encoded(self.html, eightbit=eightbit),
                b"--" + self.boundary + b"--\r\n",
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
    boundary = _boundary(headers.message_id, text, html)
    fields = [
        f"From: {_mailbox(headers.from_name, headers.from_address)}",
        f"To: {_mailbox(headers.to_name, headers.to_address)}",
        f"Subject: {_unstructured(rendered.subject)}",
        f"Date: {format_datetime(headers.date)}",
        f"Message-ID: {_checked(_MESSAGE_ID, headers.message_id, 'Message-ID')}",
    ]
    if headers.reply_to:
        fields.append(f"Reply-To: {_checked(_ADDR_SPEC, headers.reply_to, 'Reply-To address')}")
    if headers.unsubscribe_url:
        # These two are one line each, whatever their length: folded or encoded, receivers do not act on them.
        fields.append(f"List-Unsubscribe: <{_checked(_LINK, headers.unsubscribe_url, 'unsubscribe link')}>")
        fields.append("List-Unsubscribe-Post: List-Unsubscribe=One-Click")
    fields.append("Auto-Submitted: auto-generated")
    fields.append("MIME-Version: 1.0")
    fields.append(f'Content-Type: multipart/alternative;\r\n boundary="{boundary}"')
    header = "".join(f"{field}\r\n" for field in fields).encode("ascii")
    return Letter(header=header, boundary=boundary.encode("ascii"), text=text, html=html)


# -- header fields ---------------------------------------------------------------------------------------------------


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
    chunks = [b""]
    for character in text:
        octets = character.encode()
        if len(chunks[-1]) + len(octets) > _ENCODED_WORD_OCTETS:
            chunks.append(b"")
        chunks[-1] += octets
    return "\r\n ".join(f"=?utf-8?b?{b64encode(chunk).decode()}?=" for chunk in chunks)


# -- bodies ----------------------------------------------------------------------------------------------------------


def _body(text: str) -> bytes:
    """A body in UTF-8, its lines ended by CRLF, without control characters.

    The last CRLF belongs to the boundary after it (RFC 2046 §5.1.1), so a reader sees no line break at the end.
    """
    octets = text.encode(errors="replace")
    if b"\r" in octets:
        octets = octets.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return octets.translate(None, _CONTROL_OCTETS).rstrip(b"\n").replace(b"\n", b"\r\n") + b"\r\n"


def _boundary(message_id: str, text: bytes, html: bytes) -> str:
    """A boundary that always is the same for the same letter and occurs in neither body (RFC 2046 §5.1.1)."""
    digest = hashlib.sha256(message_id.encode()).hexdigest()[:40]
    while digest.encode() in text or digest.encode() in html:
        digest = hashlib.sha256(digest.encode()).hexdigest()[:40]
    return f"=_{digest}"


def _encoded(body: bytes, *, eightbit: bool) -> tuple[bytes, bytes]:
    """The body's Content-Transfer-Encoding field with the blank line after it, and the body so encoded."""
    if (eightbit or body.isascii()) and max(map(len, body.split(b"\r\n"))) <= MAX_LINE:
        encoding = b"7bit" if body.isascii() else b"8bit"
        return b"Content-Transfer-Encoding: " + encoding + b"\r\n\r\n", body
    return b"Content-Transfer-Encoding: quoted-printable\r\n\r\n", binascii.b2a_qp(body, istext=True)
