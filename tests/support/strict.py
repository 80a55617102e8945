"""A letter read by the letter of RFC 5322 and MIME, sharing nothing with the standard library's parser or with ours.

It refuses what a lenient reader would mend: so that two readers, and with them two mail servers, cannot disagree.
"""

from __future__ import annotations

import base64
import quopri
import re
from dataclasses import dataclass

_FIELD = re.compile(rb"([!-9;-~]+):[ \t](.*)", re.DOTALL)
_WORD = re.compile(r"=\?utf-8\?b\?([A-Za-z0-9+/]*=*)\?=")
_BETWEEN_WORDS = re.compile(r"(\?=)[ \t]+(?==\?)")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')


class NotALetter(Exception):
    """It breaks a rule; the text says which."""


@dataclass(frozen=True)
class Read:
    """A letter: its fields, unfolded and in their order, and its two bodies."""

    fields: list[tuple[str, str]]
    text: str
    html: str

    def field(self, name: str) -> str:
        """The one field of that name, decoded."""
        found = [value for key, value in self.fields if key == name]
        if len(found) != 1:
            raise NotALetter(f"{len(found)} fields {name}")
        return decoded(found[0])

    def mailbox(self, name: str) -> tuple[str, str]:
        """The display name and the address of a field that holds one mailbox (RFC 5322 section 3.4)."""
        [value] = [value for key, value in self.fields if key == name]
        if "<" not in value:
            return "", value
        match = re.fullmatch(r"(.*?)[ \t]*<([^<>\s]+)>", value)
        if not match:
            raise NotALetter(f"not one mailbox: {value!r}")
        words, address = match[1].strip(), match[2]
        if quoted := _QUOTED.fullmatch(words):
            return re.sub(r"\\(.)", r"\1", quoted[1]), address
        if not re.fullmatch(r"(?:=\?utf-8\?b\?[A-Za-z0-9+/=]*\?=[ \t]*)+", words):
            raise NotALetter(f"a phrase of neither a quoted string nor encoded words: {words!r}")
        return decoded(words), address


def read(octets: bytes, *, is_7bit: bool = False) -> Read:
    """Reads a letter as it was stored: CRLF lines, without stuffed dots and the final one. Raises NotALetter."""
    lines = _lines(octets, is_7bit=is_7bit)
    end = lines.index(b"")
    fields = _fields(lines[:end])
    kind = next(value for name, value in fields if name == "Content-Type")
    match = re.fullmatch(r'multipart/alternative;[ \t]+boundary="([^"]{1,70})"', kind)
    if not match:
        raise NotALetter(f"Content-Type: {kind}")
    text, html = _parts(lines[end + 1 :], match[1].encode())
    return Read(fields, _body(text, "text/plain"), _body(html, "text/html"))


def _lines(octets: bytes, *, is_7bit: bool) -> list[bytes]:
    if not octets.endswith(b"\r\n"):
        raise NotALetter("the last line does not end")
    lines = octets[:-2].split(b"\r\n")
    for line in lines:
        if b"\r" in line or b"\n" in line or b"\0" in line:
            raise NotALetter(f"a bare CR, a bare LF or a NUL in {line[:80]!r}")
        if len(line) > 998:
            raise NotALetter(f"a line of {len(line)} octets")
        if is_7bit and not line.isascii():
            raise NotALetter(f"eight bits in {line[:80]!r}")
    return lines


def _fields(lines: list[bytes]) -> list[tuple[str, str]]:
    unfolded: list[bytes] = []
    for line in lines:
        if not line.isascii() or re.search(rb"[\x00-\x08\x0a-\x1f\x7f]", line):
            raise NotALetter(f"a character that no field may hold in {line[:80]!r}")
        if line[:1] in (b" ", b"\t"):
            if not unfolded or not line.strip():
                raise NotALetter("a folded line that is blank, or the first")
            unfolded[-1] += line
        else:
            unfolded.append(line)
    found = []
    for field in unfolded:
        match = _FIELD.fullmatch(field) or re.fullmatch(rb"([!-9;-~]+):()", field)
        if not match:
            raise NotALetter(f"no field: {field[:80]!r}")
        found.append((match[1].decode(), match[2].decode()))
    return found


def _parts(lines: list[bytes], boundary: bytes) -> list[list[bytes]]:
    start, stop = b"--" + boundary, b"--" + boundary + b"--"
    marks = [number for number, line in enumerate(lines) if line.startswith(start)]
    if [lines[number] for number in marks] != [start, start, stop] or marks[0] != 0 or lines[marks[2] + 1 :]:
        raise NotALetter("not two parts, and nothing before, between or after them")
    return [lines[marks[0] + 1 : marks[1]], lines[marks[1] + 1 : marks[2]]]


def _body(lines: list[bytes], kind: str) -> str:
    end = lines.index(b"")
    fields = dict(_fields(lines[:end]))
    encoding = fields.pop("Content-Transfer-Encoding", "")
    if fields != {"Content-Type": f"{kind}; charset=utf-8"}:
        raise NotALetter(f"the part's fields are {fields}")
    octets = b"\r\n".join(lines[end + 1 :])
    if encoding == "7bit" and not octets.isascii():
        raise NotALetter("7bit that is not")
    if encoding == "quoted-printable":
        if max(map(len, octets.split(b"\r\n"))) > 76 or re.search(rb"=(?![0-9A-F]{2}|\r\n|$)", octets):
            raise NotALetter("quoted-printable that is not")
        octets = quopri.decodestring(octets)
    elif encoding not in ("7bit", "8bit"):
        raise NotALetter(f"the encoding {encoding}")
    return octets.decode().replace("\r\n", "\n")


def decoded(value: str) -> str:
    """A field's text with its encoded words (RFC 2047) decoded; blanks between two of them are none."""
    joined = _BETWEEN_WORDS.sub(r"\1", value)
    return _WORD.sub(lambda word: base64.b64decode(word[1], validate=True).decode(), joined)
