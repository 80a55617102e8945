"""The chart of Home: an SVG made here, with the same numbers in a table beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from panel.stats.service import Day

WIDTH, HEIGHT = 720, 140
_GAP = 4
_KINDS = ("sent", "waiting", "troubled")


@dataclass(frozen=True, slots=True)
class Bar:
    """A rectangle in the chart's units, and what it stands for."""

    kind: str
    x: float
    y: float
    width: float
    height: float


def bars(days: Sequence[Day]) -> list[Bar]:
    """Stacked bars, a column a day, the tallest as high as the chart."""
    tallest = max((day.total for day in days), default=0)
    if not tallest:
        return []
    column = WIDTH / len(days)
    made = []
    for number, day in enumerate(days):
        y = float(HEIGHT)
        for kind in _KINDS:
            height = getattr(day, kind) / tallest * HEIGHT
            if height:
                y -= height
                made.append(
                    Bar(
                        kind,
                        round(number * column + _GAP / 2, 2),
                        round(y, 2),
                        round(column - _GAP, 2),
                        round(height, 2),
                    )
                )
    return made
