"""What was read of a file of people, packed in pieces, as a row keeps it. Only one piece is unpacked at once.

A file of the largest size takes a hundred times the memory of a piece, and nobody says how many are looked at at once.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from panel.participants.reading import Bad, Sheet

PIECE: Final = 1_000  # people, or lines that are wrong

Person = tuple[str, str, str]

_LENGTH: Final = 4  # octets that say how long the piece is that follows


@dataclass(frozen=True, slots=True)
class Kept:
    """A packed file. `people` says how many there are; they are in pieces of PIECE, in the file's order."""

    header: list[str]
    ignored: list[str]
    people: int
    _pieces: list[memoryview]

    def some(self, piece: int) -> list[Person]:
        """The people of one piece, the first of which is 0."""
        return [(email, first, last) for email, first, last in _unpacked(self._pieces[piece])]

    def bad(self) -> Iterator[Bad]:
        """The lines that cannot be used, one after the other."""
        for piece in self._pieces[_count(self.people) :]:
            for line, reason, cells in _unpacked(piece):
                yield Bad(line, reason, cells)

    def without_people(self) -> bytes:
        """The same with nobody in it, packed."""
        return _joined([_head(self.header, self.ignored, 0), *self._pieces[_count(self.people) :]])


def pack(sheet: Sheet) -> bytes:
    """Packs what was read of a file."""
    # Half a pair of surrogates, of which JSON makes a text and a database none, is not in what was decoded strictly.
    pieces = [_head(sheet.header, sheet.ignored, len(sheet.people))]
    pieces += [_packed(sheet.people[at : at + PIECE]) for at in range(0, len(sheet.people), PIECE)]
    for at in range(0, len(sheet.bad), PIECE):
        pieces.append(_packed([list(asdict(bad).values()) for bad in sheet.bad[at : at + PIECE]]))
    return _joined(pieces)


def unpack(packed: bytes) -> Kept:
    """What `pack` made, of which the pieces stay packed."""
    whole, pieces, at = memoryview(packed), list[memoryview](), 0
    while at < len(whole):
        begin = at + _LENGTH
        at = begin + int.from_bytes(whole[begin - _LENGTH : begin])
        pieces.append(whole[begin:at])
    return Kept(**_unpacked(pieces[0]), _pieces=pieces[1:])


def _count(people: int) -> int:
    return -(-people // PIECE)


def _head(header: list[str], ignored: list[str], people: int) -> bytes:
    return _packed({"header": header, "ignored": ignored, "people": people})


def _packed(value: object) -> bytes:
    return zlib.compress(json.dumps(value, separators=(",", ":")).encode(), 1)


def _unpacked(piece: memoryview) -> Any:
    return json.loads(zlib.decompress(piece))


def _joined(pieces: Sequence[bytes | memoryview]) -> bytes:
    return b"".join(part for piece in pieces for part in (len(piece).to_bytes(_LENGTH), piece))
