"""Reads the folder that `capture` writes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.errors import MessageError
from email.message import EmailMessage
from email.parser import BytesHeaderParser
from pathlib import Path

LETTER_ID = re.compile(r"\d{19}-\d{6,}")
LINK = re.compile(r"https?://[^\s<>\"']+")
# These end a sentence around an address rather than the address itself.
TRAILING = ".,;:!?)]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A letter in the list. `recipients` and `sender` are of the envelope, the rest of the header."""

    id: str
    received_at: datetime
    sender: str
    recipients: tuple[str, ...]
    from_text: str
    subject: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A run of plain text, or a link in it."""

    text: str
    is_link: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """One letter, taken apart for reading. `headers` are all of them, in their order."""

    summary: Summary
    headers: tuple[tuple[str, str], ...]
    text: tuple[Piece, ...] | None
    html: str | None


def newest(directory: Path, *, offset: int, limit: int) -> list[Summary]:
    """The letters from the newest on. One that is pruned meanwhile is left out."""
    ids = sorted((path.stem for path in directory.glob("*.eml")), reverse=True)
    found = (_summary(directory, letter_id) for letter_id in ids[offset : offset + limit])
    return [summary for summary in found if summary is not None]


def raw(directory: Path, letter_id: str) -> bytes | None:
    """The bytes as they came, or None when there is no such letter."""
    # The id becomes part of a path, so nothing but an id may pass.
    if not LETTER_ID.fullmatch(letter_id):
        return None
    try:
        return (directory / f"{letter_id}.eml").read_bytes()
    except FileNotFoundError:
        return None


def read(directory: Path, letter_id: str) -> Letter | None:
    """One letter, or None when there is no such letter."""
    content = raw(directory, letter_id)
    summary = _summary(directory, letter_id) if content is not None else None
    if content is None or summary is None:
        return None
    message = message_from_bytes(content, policy=policy.default)
    text = _part(message, "plain")
    return Letter(
        summary=summary,
        headers=tuple((name, _one_line(value)) for name, value in _headers(message)),
        text=tuple(pieces(text)) if text is not None else None,
        html=_part(message, "html"),
    )


def pieces(text: str) -> Iterator[Piece]:
    """Cuts plain text at its links."""
    end = 0
    for match in LINK.finditer(text):
        link = match.group().rstrip(TRAILING)
        if match.start() > end:
            yield Piece(text=text[end : match.start()], is_link=False)
        yield Piece(text=link, is_link=True)
        end = match.start() + len(link)
    if end < len(text):
        yield Piece(text=text[end:], is_link=False)


def _summary(directory: Path, letter_id: str) -> Summary | None:
    try:
        envelope = json.loads((directory / f"{letter_id}.json").read_bytes())
        with (directory / f"{letter_id}.eml").open("rb") as file:
            header = BytesHeaderParser(policy=policy.default).parse(file)
    except (FileNotFoundError, ValueError):
        return None
    return Summary(
        id=letter_id,
        received_at=datetime.fromtimestamp(envelope["received_at"], UTC),
        sender=envelope["mail_from"],
        recipients=tuple(envelope["rcpt_tos"]),
        from_text=_one_line(_header(header, "From")),
        subject=_one_line(_header(header, "Subject")),
    )


def _header(message: EmailMessage, name: str) -> str:
    return next((value for key, value in _headers(message) if key.lower() == name.lower()), "")


def _headers(message: EmailMessage) -> Iterator[tuple[str, str]]:
    """The fields decoded; one that cannot be decoded as it came."""
    for name, value in message.raw_items():
        try:
            yield name, str(policy.default.header_fetch_parse(name, value))
        except (MessageError, ValueError, LookupError, IndexError, AttributeError):
            yield name, str(value)


def _one_line(value: str) -> str:
    return " ".join(value.split())


def _part(message: EmailMessage, subtype: str) -> str | None:
    part = message.get_body(preferencelist=(subtype,))
    if part is None:
        return None
    try:
        content = part.get_content()
    except (LookupError, ValueError):
        # An unknown character set or encoding: show the bytes as well as they can be shown.
        content = part.get_payload(decode=True)
    return content.decode("utf-8", "replace") if isinstance(content, bytes) else str(content)
