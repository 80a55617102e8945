"""The exact octets of addresses and letters on the wire."""

import re
from dataclasses import dataclass

import idna

from panel.smtp.outcome import About
from panel.smtp.trouble import Unsendable

MAX_PATH = 254  # RFC 5321 section 4.5.3.1.3: 256 octets with the angle brackets
MAX_LOCAL_PART = 64  # RFC 5321 section 4.5.3.1.1

_ATEXT = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\u0080-\U0010ffff-]+"
_LOCAL_PART = re.compile(rf'{_ATEXT}(?:\.{_ATEXT})*|"(?:[ !#-\[\]-~]|\\[ -~])*"')
_LABEL = "[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"  # RFC 1035 section 2.3.4: at most 63 octets
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})*|\[[A-Za-z0-9.:-]+\]")
_PLAIN = re.compile(rf"[A-Za-z0-9_+-]+(?:\.[A-Za-z0-9_+-]+)*@{_LABEL}(?:\.{_LABEL})*")
_LINE_BREAK = re.compile(rb"\r\n|\r|\n")
# Line breaks, what turns the reading direction, and lone surrogates, which no encoding can carry.
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class WireLetter:
    """A letter ready for DATA, made by `panel.message` alone: CRLF lines, dots stuffed, the final dot at the end.

    A session writes the octets as they are, so whoever makes one vouches for what `terminated` would have done.
    `ascii` says whether they are all below 128.
    """

    octets: bytes
    ascii: bool


def mailbox(address: str, *, about: About) -> str:
    """Return an envelope address (RFC 5321 section 4.1.2) with its domain as A-labels.

    The local part stays as it is, and needs SMTPUTF8 (RFC 6531) when it is not ASCII. Raises Unsendable for anything
    that could end the command, or that is not a mailbox.
    """
    if len(address) <= MAX_LOCAL_PART and _PLAIN.fullmatch(address):
        return address  # as are nearly all
    local, _, domain = address.rpartition("@")
    if _UNPRINTABLE.search(address):
        raise Unsendable(about, "The address holds a line break or another control character.")
    if not domain.isascii():
        try:
            domain = idna.encode(domain, uts46=True).decode("ascii")
        except idna.IDNAError:
            raise Unsendable(about, "The address has a domain that cannot exist.") from None
    whole = f"{local}@{domain}"
    if not _LOCAL_PART.fullmatch(local) or not _DOMAIN.fullmatch(domain):
        raise Unsendable(about, "That is not an email address.")
    if len(local.encode()) > MAX_LOCAL_PART or len(whole.encode()) > MAX_PATH:
        raise Unsendable(about, "The address is too long.")
    return whole


def terminated(letter: bytes) -> bytes:
    """Return a letter ready for DATA (RFC 5321 section 4.5.2): dots stuffed, every line CRLF, the final dot at the end.

    A lone CR or LF, which servers disagree about, becomes a CRLF before anything else is looked at: so no content can
    end the letter early. The usual letter has none, and then this is three counts and a search.
    """
    breaks = letter.count(b"\r\n")
    if breaks != letter.count(b"\r") or breaks != letter.count(b"\n"):
        letter = _LINE_BREAK.sub(b"\r\n", letter)
    stuffed = letter.replace(b"\r\n.", b"\r\n..")
    if stuffed.startswith(b"."):
        stuffed = b"." + stuffed
    return stuffed + (b".\r\n" if stuffed.endswith(b"\r\n") or not stuffed else b"\r\n.\r\n")
