"""The chart of Home: an SVG made here, with the same numbers in a table beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from panel.stats.service import Day

WIDTH, HEIGHT = 720, 140
_GAP = 4
_KINDS = {"sent": "accepted", "waiting": "waiting", "troubled": "failed or uncertain"}


@dataclass(frozen=True, slots=True)
class Bar:
    """A rectangle in the chart's units, and what it stands for."""

    kind: str
    x: float
    y: float
    width: float
    height: float
    title: str


def tallest(days: Sequence[Day]) -> int:
    """The most letters of a day, which is what the top of the chart stands for."""
    return max((day.total for day in days), default=0)


def bars(days: Sequence[Day]) -> list[Bar]:
    """Stacked bars, a column a day, the tallest as high as the chart."""
    top = tallest(days)
    if not top:
        return []
    made = []
    for number, day in enumerate(days):
        y = float(HEIGHT)
        for kind, words in _KINDS.items():
            count = getattr(day, kind)
            if count:
                height = count / top * HEIGHT
                y -= height
                made.append(_bar(kind, number / len(days), 1 / len(days), y, height, f"{_date(day)}: {count} {words}"))
    return made


def _bar(kind: str, left: float, share: float, y: float, height: float, title: str) -> Bar:
    x, width = WIDTH * left + _GAP / 2, WIDTH * share - _GAP
    return Bar(kind, round(x, 2), round(y, 2), round(width, 2), round(height, 2), title)


def _date(day: Day) -> str:
    return f"{day.date.day} {day.date:%b}"
