"""What a measurement hands back: lines of the table, each with its goal and the samples behind it."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from benchmarks.peers import Turn


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of the table. `reached` is None where there is no goal, and where nothing could be measured."""

    what: str
    goal: str
    figure: str
    reached: bool | None
    detail: str = ""
    samples: Mapping[str, Sequence[float]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How much is measured. The small ones only show that everything works: their figures say nothing."""

    turns: int
    ours: int
    nodemailer: int
    post_office: int
    smtp_source: int
    far: int
    far_others: int
    small_campaign: int
    campaign: int
    large_campaign: int
    blast: int
    events: int
    clicks: int
    pages: int
    streams: int
    steps: int


FULL = Sizes(
    turns=5,
    ours=20_000,
    nodemailer=10_000,
    post_office=4_000,
    smtp_source=40_000,
    far=5_000,
    far_others=1_500,
    small_campaign=10_000,
    campaign=100_000,
    large_campaign=1_000_000,
    blast=100_000,
    events=300,
    clicks=40,
    pages=1_000,
    streams=200,
    steps=1_000,
)
SMALL = Sizes(
    turns=1,
    ours=200,
    nodemailer=100,
    post_office=50,
    smtp_source=500,
    far=200,
    far_others=50,
    small_campaign=50,
    campaign=200,
    large_campaign=400,
    blast=300,
    events=3,
    clicks=2,
    pages=10,
    streams=10,
    steps=10,
)


def in_turns(sides: Mapping[str, Callable[[], Turn]], turns: int, say: Callable[[str], None]) -> dict[str, list[Turn]]:
    """Every side once, then every side again: what a shared machine does to one, it does to all."""
    found: dict[str, list[Turn]] = {name: [] for name in sides}
    for number in range(turns):
        for name, side in sides.items():
            turn = side()
            found[name].append(turn)
            say(f"turn {number + 1}: {name} {turn.rate:,.0f}/s")
    return found


def rates(turns: Sequence[Turn]) -> list[float]:
    """Letters a second, turn by turn."""
    return [turn.rate for turn in turns]


def spread(values: Sequence[float], form: str = ",.0f") -> str:
    """The median, and the range around it."""
    low, high = min(values), max(values)
    return f"{statistics.median(values):{form}} ({low:{form}} to {high:{form}})"


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of all are no greater than."""
    ordered = sorted(values)
    return ordered[max(0, min(len(ordered) - 1, -int(-len(ordered) * share // 1) - 1))]


def beside(ours: Sequence[Turn], theirs: Sequence[Turn]) -> float:
    """How many times as many letters a second as theirs: the ratio of the medians."""
    return statistics.median(rates(ours)) / statistics.median(rates(theirs))


def ratio_line(what: str, ours: Sequence[Turn], theirs: Sequence[Turn], *, goal: float, samples: str) -> Line:
    """A line that says how many times as fast as theirs ours is."""
    ratio = beside(ours, theirs)
    pairs = [mine.rate / other.rate for mine, other in zip(ours, theirs, strict=True)]
    by_turns = f"by turns {min(pairs):.2f} to {max(pairs):.2f} ×"
    return Line(
        what=what,
        goal=f"≥ {goal:g} ×",
        figure=f"{ratio:.2f} ×",
        reached=ratio >= goal,
        detail=f"{spread(rates(ours))}/s beside {spread(rates(theirs))}/s; {by_turns}",
        samples={"ours": rates(ours), samples: rates(theirs)},
    )


def time_line(what: str, seconds: Sequence[float], *, goals: Mapping[float, float], whole: str = "") -> Line:
    """A line of percentiles in milliseconds. `goals`: the share of all (0.99) → at most so many milliseconds."""
    found = {share: percentile(seconds, share) * 1000 for share in goals}
    return Line(
        what=what,
        goal=", ".join(f"p{share * 100:g} ≤ {most:g} ms" for share, most in goals.items()),
        figure=", ".join(f"p{share * 100:g} {value:.1f} ms" for share, value in found.items()),
        reached=all(found[share] <= most for share, most in goals.items()),
        detail=f"{whole}{'; ' if whole else ''}n = {len(seconds)}, median {statistics.median(seconds) * 1000:.1f} ms, "
        f"most {max(seconds) * 1000:.1f} ms",
        samples={"seconds": [round(value, 6) for value in seconds]},
    )


def missing_line(what: str, goal: str, why: object) -> Line:
    """A line for what could not be measured here, with the reason."""
    return Line(what=what, goal=goal, figure=f"not measured: {why}", reached=None)
