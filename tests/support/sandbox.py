"""`ownpost sandbox` as a process, playing all it comes with, each script on a port of its own."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.wait import wait_for


class Sandbox:
    """The process; `ports` by the script's name, `lines` all that it printed, `ca_file` whom to trust."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.ca_file = folder / "sandbox-ca.pem"
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, "-m", "panel.cli", "sandbox", "--port", "0", "--ca-file", str(self.ca_file), *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        self._reading = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> Self:
        self._reading.start()
        wait_for(lambda: "Ctrl-C stops it." in self.lines, 30, what="the sandbox")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.terminate()
        try:
            self.process.wait(15)
        finally:
            self.process.kill()
            self._reading.join(5)

    @property
    def ports(self) -> dict[str, int]:
        """Where each script is played."""
        found = (re.fullmatch(r"(\S+) listens on 127\.0\.0\.1 port (\d+)", line) for line in list(self.lines))
        return {one[1]: int(one[2]) for one in found if one}

    def of(self, name: str) -> list[str]:
        """What was printed about the connections of a script."""
        return [line for line in list(self.lines) if line.startswith(f"{name} ") and "listens on" not in line]

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))
