"""A real Redis on a unix socket, gone when the test process is gone."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from panel.embedded import answers_ping, redis_command
from panel.process import die_with_parent

from .wait import wait_for


class RedisServer:
    """Started by `start`, ended by `stop`; `url` stays the same over a restart, as does what it holds."""

    def __init__(self, binary: Path) -> None:
        # Not pytest's tmp_path: a unix socket's path may be 107 bytes at most.
        self.directory = Path(tempfile.mkdtemp(prefix="ownpost-test-"))
        self.socket = self.directory / "redis.sock"
        self.url = f"unix://{self.socket}"
        command = redis_command(binary=binary, socket_path=self.socket, directory=self.directory)
        # What is written survives an end of Redis, if not one of the machine; a slow disk makes nobody wait.
        self._command = [*command, "--appendfsync", "no"]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log, preexec_fn=die_with_parent)
        wait_for(lambda: answers_ping(self.socket), 100, what="Redis answering PING")

    @property
    def running(self) -> bool:
        return self._process is not None

    def stop(self) -> None:
        """Stops it as a crash would, which keeps what is on disk."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)
