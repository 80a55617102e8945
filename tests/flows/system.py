"""The whole system as a user runs it, a mail server of the owner's, and a real browser."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path

from tests.support.mailserver import MailServer, ca_pem_path
from tests.support.wait import wait_for

OWNER, PASSWORD = "owner@acme-coffee.example", "a long demo password"
SMTP_USER, SMTP_PASSWORD = "hello@acme-coffee.example", "abcd efgh canary ijkl"


class System:
    """`ownpost up --demo` on a data directory of its own, with the loopback servers of a test allowed."""

    def __init__(self, data_dir: Path, *, port: int, allow: str, up: bool = True, **environ: str) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.data_dir = data_dir
        self.log: list[str] = []
        self._environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("OWNPOST_", "REDIS_"))},
            "OWNPOST_SMTP_ALLOW": allow,
            "OWNPOST_TICKER_SECONDS": "1",
            "OWNPOST_LIMIT_TESTS": "1000/minute",
            "OWNPOST_LIMIT_DESTINATIONS": "1000/minute",
            "SSL_CERT_FILE": ca_pem_path(),
            "PYTHONUNBUFFERED": "1",
            **environ,
        }
        command = ["up", "--demo", "--port", str(port), "--data-dir", str(data_dir), "--workers", "1"]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "panel.cli", *command],
            env=self._environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.log.append(line.rstrip())

    def wait_until_ready(self, timeout: float = 60) -> None:
        wait_for(self._ready, timeout, what="the panel\n" + "\n".join(self.log[-30:]))
        wait_for(lambda: self.login() is not None, 60, what="the demo login")

    def _ready(self) -> bool:
        if self._process.poll() is not None:
            raise AssertionError("`ownpost up` ended:\n" + "\n".join(self.log[-40:]))
        try:
            with urllib.request.urlopen(f"{self.url}/readyz", timeout=2) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False

    def login(self) -> tuple[str, str] | None:
        """Address and password of the demo's owner, as `up` printed them."""
        text = "\n".join(self.log)
        address = re.search(r"\b(owner@acme-coffee\.example)\b", text)
        password = re.search(r"[Pp]assword:?\s+(\S+)", text)
        return (address[1], password[1]) if address and password else None

    def command(self, *arguments: str, stdin: str = "") -> str:
        """Another `ownpost` command on the same data directory, as an operator would type it."""
        environ = {**self._environ, "OWNPOST_DATA_DIR": str(self.data_dir)}
        done = subprocess.run(
            [sys.executable, "-m", "panel.cli", *arguments],
            env=environ, input=stdin, capture_output=True, text=True, timeout=60, check=True,
        )  # fmt: skip
        return done.stdout.strip()

    def stop(self) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise


def own_server(security: str = "starttls") -> MailServer:
    """The owner's mail server: STARTTLS and AUTH, as most are."""
    return MailServer(security=security, username=SMTP_USER, password=SMTP_PASSWORD)


def chromium() -> str | None:
    """The system's Chromium."""
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
