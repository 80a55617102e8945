"""`make bench` works: every measurement runs on a few letters, on both databases. No time is judged."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.__main__ import MEASUREMENTS
from benchmarks.figures import percentile
from benchmarks.machine import ROOT
from panel.embedded import find_redis_server
from tests.flows.system import chromium
from tests.support.needs import missing, need_program
from tests.support.postgres import postgres_bin

LIMIT = 640  # seconds, on a machine with much else to do

# Of each: how many lines there are, and how many of them have a figure where nothing may be fetched.
LINES = {
    "whole": (5, 1),
    "far": (4, 2),
    "scale": (2, 2),
    "million": (1, 1),
    "memory": (2, 2),
    "blast": (2, 2),
    "interactive": (6, 6),
    "pages": (6, 6),
}
# Together, as each run starts servers of its own.
RUNS = [("whole", "far"), ("scale", "million", "memory"), ("blast", "pages"), ("interactive",)]


def _bench(tmp_path: Path, *names: str) -> dict[str, list[dict[str, object]]]:
    out = tmp_path / "results.json"
    command = [sys.executable, "-m", "benchmarks", "--size", "small", "--no-fetch", "--out", str(out), *names]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT - 20, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return {name: found["lines"] for name, found in json.loads(out.read_text()).items()}


@pytest.fixture
def servers() -> None:
    need_program("smtp-sink", install="apt-get install postfix")
    if find_redis_server() is None:
        missing("redis-server", install="apt-get install redis-server")
    if postgres_bin() is None:
        missing("PostgreSQL", install="apt-get install postgresql")


@pytest.mark.timeout(LIMIT)
@pytest.mark.parametrize("names", RUNS, ids="-".join)
def test_it_measures(names: tuple[str, ...], servers: None, tmp_path: Path):
    if "far" in names:
        need_program("cc", install="apt-get install gcc")
    if "interactive" in names and chromium() is None:
        missing("chromium", install="apt-get install chromium")
    measured = _bench(tmp_path, *names)
    assert set(measured) == set(names)
    for name, lines in measured.items():
        count, figures = LINES[name]
        assert len(lines) == count, name
        assert sum(1 for line in lines if not str(line["figure"]).startswith("not measured")) >= figures, name
        assert all(line["reached"] is None for line in lines), "a small run judges nothing"


def test_every_measurement_is_tried():
    assert sorted(LINES) == sorted(MEASUREMENTS) == sorted(name for names in RUNS for name in names)


def test_it_says_what_there_is_to_measure(tmp_path: Path):
    command = [sys.executable, "-m", "benchmarks", "nonsense"]
    done = subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "there is no measurement 'nonsense'; there are whole, far" in done.stderr


@pytest.mark.parametrize(("share", "wanted"), [(0.5, 50), (0.95, 95), (0.99, 99), (1.0, 100), (0.001, 1)])
def test_it_takes_a_percentile_by_nearest_rank(share: float, wanted: int):
    assert percentile(range(100, 0, -1), share) == wanted
    assert percentile([7], share) == 7
