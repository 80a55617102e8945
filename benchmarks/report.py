"""The table, written from what was measured and from nothing else: docs/performance.md, and the README's part of it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from benchmarks.figures import Line
from benchmarks.machine import ROOT

RESULTS: Final = ROOT / "benchmarks" / "results.json"
DOCUMENT: Final = ROOT / "docs" / "performance.md"
README: Final = ROOT / "README.md"
_MARKS: Final = ("<!-- figures: written by `make bench` -->", "<!-- end of figures -->")
_VERDICT: Final = {True: "yes", False: "**no**", None: "–"}

Results = dict[str, dict[str, Any]]
"""By measurement: when and on what it was made, and its lines."""


def load(path: Path = RESULTS) -> Results:
    """What has been measured so far."""
    found: Results = json.loads(path.read_text()) if path.exists() else {}
    return found


def save(results: Results, path: Path = RESULTS) -> None:
    """Keeps it, in a form that a diff can show."""
    path.write_text(json.dumps(results, indent=1, ensure_ascii=False, sort_keys=True) + "\n")


def entry(lines: Iterable[Line], machine: dict[str, str], load: float) -> dict[str, Any]:
    """One measurement, as it is kept."""
    return {"machine": machine, "load": round(load, 2), "lines": [asdict(line) for line in lines]}


def in_order(results: Results, order: Iterable[str]) -> list[dict[str, Any]]:
    """Lines in the order of the table, each with the name of its measurement."""
    return [{**line, "of": name} for name in order if name in results for line in results[name]["lines"]]


def table(results: Results, order: Iterable[str]) -> str:
    """The whole table, with what lies behind each line, and what each was measured on."""
    order = list(order)
    rows = ["| what | goal | measured | reached | behind it |", "| --- | --- | --- | --- | --- |"]
    for line in in_order(results, order):
        cells = (line["what"], line["goal"] or "–", line["figure"], _VERDICT[line["reached"]], line["detail"] or "–")
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join([*rows, "", *_runs(results, order)])


def short_table(results: Results, order: Iterable[str]) -> str:
    """What the README shows: no more than the figures."""
    order = list(order)
    rows = ["| what | goal | measured |", "| --- | --- | --- |"]
    rows += [f"| {one['what']} | {one['goal'] or '–'} | {one['figure']} |" for one in in_order(results, order)]
    machines = {_machine(results[name]["machine"]): None for name in order if name in results}
    loads = [results[name]["load"] for name in order if name in results]
    beside = [f"Other work beside it: a load of {min(loads):.1f} to {max(loads):.1f}."] if loads else []
    return "\n".join([*rows, "", *(f"Made on {words}." for words in machines), *beside])


def _runs(results: Results, order: list[str]) -> Iterable[str]:
    for name in order:
        if name in results:
            of, load = results[name]["machine"], results[name]["load"]
            programs = f"{of['system']}, SQLAlchemy {of['sqlalchemy']}, SQLite {of['sqlite']}"
            yield f"- `{name}`: {of['date']}, commit {of['commit']}, load before it {load}; {_machine(of)}, {programs}"


def _machine(machine: dict[str, str]) -> str:
    return f"{machine['processor']}, {machine['cores']} cores, {machine['memory']}, Python {machine['python']}"


def between_marks(text: str, part: str) -> str:
    """The text with what stands between its marks replaced. Raises ValueError where it has none."""
    begin, end = (re.escape(mark) for mark in _MARKS)
    if len(re.findall(f"{begin}.*?{end}", text, re.S)) != 1:
        raise ValueError("there must be one place for figures")
    return re.sub(f"{begin}.*?{end}", lambda _: f"{_MARKS[0]}\n\n{part}\n\n{_MARKS[1]}", text, flags=re.S)


def written(results: Results, order: Iterable[str]) -> dict[Path, str]:
    """The documents as they should be."""
    order = list(order)
    return {
        DOCUMENT: between_marks(DOCUMENT.read_text(), table(results, order)),
        README: between_marks(README.read_text(), short_table(results, order)),
    }


def write(results: Results, order: Iterable[str]) -> None:
    """Writes the figures into the documents."""
    for path, text in written(results, order).items():
        path.write_text(text)
