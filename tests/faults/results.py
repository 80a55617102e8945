"""Writes down what each run gave, and makes docs/reliability.md of it: no figure there is typed by hand.

python -m tests.faults.results RESULTS.jsonl docs/reliability.md "the command that made them"
"""

from __future__ import annotations

import datetime as dt
import json
import os
import platform
import statistics
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

Result = Mapping[str, Any]


def write(**result: object) -> None:
    """Adds a run to the file that OWNPOST_FAULT_RESULTS names, if it does."""
    name = os.environ.get("OWNPOST_FAULT_RESULTS")
    if name:
        with Path(name).open("a") as file:
            file.write(json.dumps(result) + "\n")


def page(results: Iterable[Result], *, command: str) -> str:
    """docs/reliability.md."""
    runs = list(results)
    groups: defaultdict[tuple[str, str], list[Result]] = defaultdict(list)
    for run in runs:
        groups[run["what"], run["database"]].append(run)
    rows = [_row(what, database, groups[what, database]) for what, database in sorted(groups)]
    passed = sum(run["passed"] for run in runs)
    return _PAGE.format(
        rows="\n".join(rows),
        command=command,
        date=f"{dt.datetime.now(dt.UTC):%-d %B %Y}",
        commit=_commit(),
        machine=f"{os.cpu_count()} cores, Python {platform.python_version()}",
        runs=len(runs),
        passed=passed,
        deliveries=f"{sum(run['deliveries'] for run in runs):,}",
        lost=sum(run["lost"] for run in runs),
        twice=sum(run["twice"] for run in runs),
        uncertain=sum(run["uncertain"] for run in runs),
        limit=sum(run["uncertain_limit"] for run in runs),
    )


def _row(what: str, database: str, runs: list[Result]) -> str:
    worst = max(runs, key=lambda run: (run["uncertain"], -run["uncertain_limit"]))
    cells = (
        what,
        {"sqlite": "SQLite", "postgresql": "PostgreSQL"}[database],
        f"{sum(run['passed'] for run in runs)} of {len(runs)}",
        f"{sum(run['deliveries'] for run in runs):,}",
        str(sum(run["lost"] for run in runs)),
        str(sum(run["twice"] for run in runs)),
        f"{worst['uncertain']} of {worst['uncertain_limit']}",
        f"{statistics.median(run['seconds'] for run in runs):.1f}",
        "; ".join(sorted({note for run in runs for note in _notes(run)})),
    )
    return f"| {' | '.join(cells)} |"


def _notes(run: Result) -> Iterable[str]:
    if "wrong_auths" in run:
        yield f"AUTHs with the wrong password: {run['wrong_auths']}"
    if "shutdown_seconds" in run:
        yield f"ended within {run['shutdown_seconds']} s"
    if "p95_ms" in run:
        without, beside = run["p95_ms"]
        yield f"event to accepted, p95: {without} ms without, {beside} ms beside them"


def _commit() -> str:
    done = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return done.stdout.strip() or "no commit"


_PAGE = """\
# What faults did to it

This page is made by `make faults` from what its runs gave; only its words are written by hand, in
`tests/faults/results.py`.

The promise: a letter that was queued is sent, or its row says why not; no letter is sent twice by itself; and where
nobody can know whether the server took it, the row says `uncertain` and waits for a person. There may be at most one
such letter for each connection that was open when a worker was killed, or the database cut off.

How it is tried: real worker, ticker and web processes, real signals, a real Redis, SQLite and PostgreSQL; a mail server
that keeps every letter it takes by its Message-ID and calls a hook at each point of a conversation, where a worker is
killed or frozen, the database crashed or Redis emptied. After each run every row is compared with what the server took:
nothing waits, what is `sent` was taken, what was taken is `sent` or `uncertain`, every attempt has an end, and no
letter's body flowed twice at once or after it was taken (`tests/faults/reconcile.py`).

{runs} runs of {deliveries} letters on {date}, at {commit}, {machine}, by `{command}`:
{passed} of {runs} kept the promise. **Lost: {lost}. Accepted twice: {twice}.** Uncertain: {uncertain}, where {limit}
could have been.

| what was done | database | runs that kept it | letters | lost | accepted twice | most uncertain in a run, of at most \
| seconds a run (median) | also measured |
| --- | --- | --- | --- | --- | --- | --- | --- | --- |
{rows}

Kills at a named point: before the reply to MAIL; between RCPT and DATA; after the final dot, before its reply; after
the 250, before the worker's record of it (the worker is frozen while the 250 is written). *At random* is at any point,
after a number of letters that the seed says. *Anything at any time* does several of these and others at once.

What is not tried here: a machine that loses power with its disk's cache (PostgreSQL runs without fsync in these
tests), and a clock that really jumps: the times stored are moved the other way instead. A worker that is frozen while
it holds SQLite's one write lock keeps all others from writing until it goes on or is killed; that is SQLite's nature,
and nothing is lost by it. On PostgreSQL the ticker breaks off such a
transaction once a lease has passed, and the others go on.
"""


def main(arguments: list[str]) -> None:
    """Makes the page."""
    source, target, command = arguments
    results = [json.loads(line) for line in Path(source).read_text().splitlines()]
    Path(target).write_text(page(results, command=command))


if __name__ == "__main__":
    main(sys.argv[1:])
