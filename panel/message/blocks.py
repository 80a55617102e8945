"""A parsed body, divided: blocks, whole lines that are the same in every letter, and the seams around them."""

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any, Final

from panel.message.language import Part, Program, Slot, Values

# Encoding so few characters anew costs less than one more piece to put together.
SHORTEST_BLOCK: Final = 256


class Slots:
    """The different merge tags of a version that are but names, in the order in which their fillings are handed over.

    `are_all` says whether there is nothing else: no condition, and no filter but what a slot with a name can have.
    """

    def __init__(self) -> None:
        self.found: list[Slot] = []
        self.are_all = True
        self._numbers: dict[object, int] = {}

    def number(self, slot: Slot) -> int:
        """The place of a slot's filling."""
        key = (slot.name, slot.default, slot.steps)
        if key not in self._numbers:
            self._numbers[key] = len(self.found)
            self.found.append(slot)
        return self._numbers[key]


class Seam:
    """Lines with merge tags, and what stands beside them. Where slots are all they have, `format` is a `%` format."""

    __slots__ = ("_parts", "_pick", "_program", "format", "numbers")

    def __init__(self, program: Program, parts: Sequence[Part], slots: Slots) -> None:
        self._program = program
        self._parts: Sequence[Part] = ()
        named = [part for part in parts if isinstance(part, str) or (isinstance(part, Slot) and part.name is not None)]
        if len(named) < len(parts):
            self._parts = parts
            slots.are_all = False
            named = []
        self.numbers = [slots.number(part) for part in named if isinstance(part, Slot)]
        self.format = "".join(part.replace("%", "%%") if isinstance(part, str) else "%s" for part in named)
        self._pick = picker(self.numbers)

    def fill(self, fillings: Sequence[str], known: Values, escape: Callable[[str], str] | None = None) -> str:
        """The lines with the fillings put in or, where those do not suffice, with the values, each one escaped."""
        if self._parts:
            return self._program.fill(self._parts, known, escape=escape)
        filled: str = self.format % self._pick(fillings)
        return filled


def picker(numbers: Sequence[int]) -> Callable[[Sequence[Any]], Any]:
    """What takes the fillings of these numbers out of all of them, for a `%` format."""
    return itemgetter(*numbers) if numbers else lambda _fillings: ()


def divided(parts: Sequence[Part], may_be_edge: Callable[[str], bool]) -> tuple[list[str], list[list[Part]]]:
    """The blocks of a body, and the seams before, between and after them.

    A block begins and ends with a line that may be an edge.
    """
    blocks: list[str] = []
    seams: list[list[Part]] = [[]]
    for unchanging, group in groupby(_lines(parts), lambda line: all(isinstance(part, str) for part in line)):
        if not unchanging:
            seams[-1] += [part for line in group for part in line]
            continue
        run = ["".join(part for part in line if isinstance(part, str)) for line in group]
        edges = [number for number, line in enumerate(run) if may_be_edge(line)]
        start, end = (edges[0], edges[-1] + 1) if edges else (0, 0)
        if sum(map(len, run[start:end])) < SHORTEST_BLOCK:
            seams[-1] += run
        else:
            blocks.append("".join(run[start:end]))
            seams[-1] += run[:start]
            seams.append([*run[end:]])
    return blocks, seams


def _lines(parts: Sequence[Part]) -> Iterator[list[Part]]:
    """The parts line by line; a condition is on the line on which it begins, whatever it holds."""
    line: list[Part] = []
    for part in parts:
        if not isinstance(part, str):
            line.append(part)
            continue
        *ends, rest = part.split("\n")
        for end in ends:
            yield [*line, f"{end}\n"]
            line = []
        line.append(rest)
    yield line


def is_whole(line: str) -> bool:
    """Whether the line has its end."""
    return line.endswith("\n")


def is_solid(line: str) -> bool:
    """Whether the line is whole, and nothing that trims or cleans a text changes where it begins and ends."""
    words = line[:-1]
    return line.endswith("\n") and words.isprintable() and words != "" and words == words.rstrip()
