"""Makes the table of docs/performance.md again.

    make bench                       all but the million letters; writes docs/performance.md and the README's figures
    make bench MEASURE="whole far"   some measurements; the others keep what they had
    make bench MEASURE=million       a million letters, which takes many minutes
    make bench SIZE=small            a few letters each, to see that it works; writes nothing and judges nothing

Ratios come from turns within one run: ours, theirs, ours, theirs and so on. What a measurement needs and this machine
lacks is named in its line.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Final

from benchmarks import blast, interactive, machine, pages, programs, report, sending
from benchmarks.figures import FULL, SMALL, Line
from benchmarks.ground import PostgresStore, SqliteStore
from benchmarks.sending import Bench

MEASUREMENTS: Final[dict[str, Callable[[Bench], list[Line]]]] = {
    "whole": sending.whole_job,
    "far": sending.far_network,
    "scale": sending.longer_campaign,
    "million": sending.longest_campaign,
    "memory": lambda bench: sending.memory(bench, bench.sizes.campaign),
    "blast": blast.queued,
    "interactive": interactive.interactive,
    "pages": pages.pages_and_streams,
}
_ONLY_WHEN_ASKED: Final = {"million"}


def main(arguments: Sequence[str]) -> int:
    """Measures, prints the table, and writes it unless it is small. Returns the exit code."""
    given = _parse(arguments)
    small = given.size == "small"
    results: report.Results = {}
    with ExitStack() as stack:
        bench = _bench(stack, given)
        for name in given.measurements:
            say(f"— {name}")
            load = machine.load()
            lines = MEASUREMENTS[name](bench)
            if small:
                lines = [replace(line, reached=None) for line in lines]
            results[name] = report.entry(lines, machine.describe(), load)
            if given.out:
                report.save(results, given.out)
            if not small:
                report.save({**report.load(), name: results[name]})
    say(report.table(results, MEASUREMENTS))
    if not small:
        report.write(report.load(), MEASUREMENTS)
    return 0


def run(arguments: Sequence[str]) -> int:
    """`main`, with what it cannot do without named in one line, and everything put away when it is ended."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        return main(arguments)
    except programs.Missing as error:
        say(f"Nothing can be measured: {error}")
        return 1


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks", description="Measures Ownpost.")
    parser.add_argument("measurements", nargs="*", metavar="MEASUREMENT", help=", ".join(MEASUREMENTS))
    parser.add_argument("--size", choices=("full", "small"), default="full")
    parser.add_argument("--no-fetch", action="store_true", help="leave out peers that would have to be fetched")
    parser.add_argument("--out", type=Path, help="keep what was measured in this file too")
    given = parser.parse_args(arguments)
    unknown = [name for name in given.measurements if name not in MEASUREMENTS]
    if unknown:
        parser.error(f"there is no measurement {unknown[0]!r}; there are {', '.join(MEASUREMENTS)}")
    given.measurements = given.measurements or [name for name in MEASUREMENTS if name not in _ONLY_WHEN_ASKED]
    return given


def _bench(stack: ExitStack, given: argparse.Namespace) -> Bench:
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ownpost-bench-")))
    redis = stack.enter_context(programs.redis_server())
    stores: list[SqliteStore | PostgresStore] = [SqliteStore(folder, redis.url)]
    try:
        stores.append(PostgresStore(stack.enter_context(programs.postgres()), folder, redis.url))
    except programs.Missing as error:
        say(f"SQLite only: {error}")
    sizes = SMALL if given.size == "small" else FULL
    return Bench(sizes=sizes, folder=folder, redis_url=redis.url, stores=stores, fetch=not given.no_fetch, say=say)


def say(line: str) -> None:
    """Prints a line now: what reads this may be a pipe."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
