"""Forks `ownpost` processes after the imports, as `ownpost up` does: a start costs 50 ms instead of a second.

Run as a program it reads requests from stdin and answers on stdout, one JSON object a line. What it forks ends with it.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from panel.process import die_with_parent


class Zygote:
    """The test's end of it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.zygote"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def start(self, *arguments: str, environ: Mapping[str, str], log: Path) -> int:
        """Starts `ownpost` with these arguments and returns its process id."""
        return int(self._ask(start=arguments, environ=dict(environ), log=str(log)))

    def poll(self, pid: int) -> int | None:
        """The exit code, negative for a signal's number; None while it runs."""
        found = self._ask(poll=pid)
        return None if found is None else int(found)

    def close(self) -> None:
        self._process.kill()
        self._process.wait(10)

    def _ask(self, **request: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._lock:  # hooks ask from the sink's threads
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            return json.loads(self._process.stdout.readline())["answer"]


def main() -> None:
    """Serves until stdin ends."""
    for name in ("jobs.ticker", "jobs.worker", "panel.cli", "panel.server"):
        importlib.import_module(name)  # before the forks, which is what this process is for
    ended: dict[int, int] = {}
    for line in sys.stdin:
        request = json.loads(line)
        answer = _fork(request) if "start" in request else _poll(request["poll"], ended)
        sys.stdout.write(json.dumps({"answer": answer}) + "\n")
        sys.stdout.flush()


def _fork(request: Mapping[str, Any]) -> int:
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        _become(request, parent)
    return pid


def _become(request: Mapping[str, Any], parent: int) -> NoReturn:
    code = 1
    try:
        os.setsid()
        die_with_parent(parent)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((nothing, 0), (log, 1), (log, 2)):
            os.dup2(source, target)
        os.closerange(3, 64)
        sys.stdout, sys.stderr = (open(number, "w", buffering=1, closefd=False) for number in (1, 2))  # noqa: SIM115
        os.environ.clear()
        os.environ.update(request["environ"])
        code = _command(request["start"])
    finally:
        sys.stdout.flush()
        os._exit(code)


def _command(arguments: list[str]) -> int:
    from panel.cli import main as ownpost

    try:
        ownpost(arguments, prog_name="ownpost")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001 - what a process of its own would print and end with
        import traceback

        traceback.print_exc()
        return 1
    return 0


def _poll(pid: int, ended: dict[int, int]) -> int | None:
    if pid not in ended:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            ended[pid] = os.waitstatus_to_exitcode(status)
    return ended.get(pid)


if __name__ == "__main__":
    main()
