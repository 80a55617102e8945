"""What `make test` runs: the linters, the type check and the tests side by side, then one summary of them all.

The tests are streamed as they go. The others are quick and niced, so they hardly slow the tests; what they print is
shown at the end, and only if they fail. pytest's closing line comes last.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Browsers, PostgreSQL and workers of the tests need cores too: more processes than this only get in each other's way.
MOST_PROCESSES = 4
CHECKS = {
    "ruff check": ["ruff", "check", "--no-cache", "."],
    "ruff format": ["ruff", "format", "--no-cache", "--check", "."],
    "mypy": ["mypy"],
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """How one of them ended."""

    name: str
    passed: bool
    seconds: float
    output: str


def main(arguments: Sequence[str]) -> int:
    """Runs all of it; `arguments` go to pytest. Returns the exit code: 0 if everything passed, else 1."""
    with ThreadPoolExecutor() as threads:
        checks = [threads.submit(run_check, name, module) for name, module in CHECKS.items()]
        tests, closing_line = run_tests(arguments)
        results = [*(check.result() for check in checks), tests]
    for result in results:
        if not result.passed and result.output:
            say(f"\n--- {result.name}\n{result.output.rstrip()}")
    say("")
    for result in results:
        say(f"{'passed' if result.passed else 'FAILED'}  {result.name:<12} {result.seconds:6.1f} s")
    say(closing_line)
    return 0 if all(result.passed for result in results) else 1


def run_check(name: str, module: Sequence[str]) -> Result:
    """Runs one of the checks beside the tests, at a low priority."""
    began = time.monotonic()
    command = ["nice", "-n", "10", sys.executable, "-m", *module]
    done = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    seconds = time.monotonic() - began
    return Result(name=name, passed=done.returncode == 0, seconds=seconds, output=done.stdout + done.stderr)


def run_tests(arguments: Sequence[str]) -> tuple[Result, str]:
    """Streams pytest's output, but for its closing line, which it returns."""
    # One more than cores: tests of faults and browsers wait most of their time.
    processes = min((os.cpu_count() or 1) + 1, MOST_PROCESSES)
    colour = "yes" if sys.stdout.isatty() else "no"
    command = [sys.executable, "-m", "pytest", f"-n{processes}", "--dist=worksteal", f"--color={colour}", *arguments]
    began = time.monotonic()
    held_back: str | None = None
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        for line in process.stdout or ():
            if held_back is not None:
                say(held_back)
            held_back = line.rstrip("\n")
    seconds = time.monotonic() - began
    return Result(name="pytest", passed=process.returncode == 0, seconds=seconds, output=""), held_back or ""


def say(line: str) -> None:
    """Writes a line now: what reads this may be a pipe."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
