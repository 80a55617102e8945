"""The others, beside whom ours is measured: fetched once into .bench/, each turn in a process of its own."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks import letter
from benchmarks.programs import CACHE, HERE, Missing, program

NODE: Final = {"nodemailer": "10.6.0", "better-sqlite3": "12.11.1"}
PYTHON: Final = {"Django": "5.2.19", "django-post_office": "3.12.0"}
_SCRIPTS: Final = HERE / "peers"
_TIMEOUT: Final = 600.0


@dataclass(frozen=True, slots=True)
class Turn:
    """How many letters went out, and in what time."""

    sent: int
    seconds: float

    @property
    def rate(self) -> float:
        """Letters a second."""
        return self.sent / self.seconds


Peer = Callable[[int, int, int], Turn]
"""Sends so many letters to a port over so many connections."""


def letters() -> Path:
    """The folder with the letter as the peers read it."""
    CACHE.mkdir(exist_ok=True)
    letter.write(CACHE)
    return CACHE


def nodemailer(*, fetch: bool) -> Peer:
    """Nodemailer's pool on better-sqlite3. Raises Missing where it is not here and `fetch` does not bring it."""
    node = program("node", install="Debian's nodejs package")
    home = CACHE / "node"
    wanted = {"private": True, "dependencies": NODE}
    manifest = home / "package.json"
    if not (home / "node_modules" / "better-sqlite3").exists() or json.loads(manifest.read_text()) != wanted:
        if not fetch:
            raise Missing("nodemailer was not fetched")
        npm = program("npm", install="Debian's npm package")
        home.mkdir(parents=True, exist_ok=True)
        manifest.write_text(json.dumps(wanted))
        _fetch([npm, "install", "--no-audit", "--no-fund", "--silent"], home, "nodemailer")
    words = letters() / "letter.json"

    def send(port: int, count: int, connections: int) -> Turn:
        with tempfile.TemporaryDirectory(prefix="ownpost-bench-") as folder:
            command = [node, _SCRIPTS / "nodemailer.js", words, folder, *map(str, (port, count, connections))]
            return _turn(command, count, cwd=home)

    return send


def post_office(*, fetch: bool) -> Peer:
    """Django-post_office in one process. Raises Missing where it is not here and `fetch` does not bring it."""
    home = CACHE / "django"
    python, note = home / "bin" / "python", home / "wanted.json"
    if not note.exists() or json.loads(note.read_text()) != PYTHON:
        if not fetch:
            raise Missing("django-post_office was not fetched")
        shutil.rmtree(home, ignore_errors=True)
        _fetch([sys.executable, "-m", "venv", home], HERE, "an environment for django-post_office")
        pinned = [f"{name}=={version}" for name, version in PYTHON.items()]
        _fetch([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *pinned], HERE, "post_office")
        note.write_text(json.dumps(PYTHON))
    words = letters() / "letter.json"

    def send(port: int, count: int, connections: int) -> Turn:
        with tempfile.TemporaryDirectory(prefix="ownpost-bench-") as folder:
            command = [python, _SCRIPTS / "django_post_office.py", words, folder, *map(str, (port, count, connections))]
            return _turn(command, count)

    return send


def smtplib_threads() -> Peer:
    """smtplib in threads, which fills in and records nothing."""
    words = letters() / "letter.eml"

    def send(port: int, count: int, connections: int) -> Turn:
        script = _SCRIPTS / "smtplib_threads.py"
        return _turn([sys.executable, script, words, *map(str, (port, count, connections))], count)

    return send


def smtp_source() -> Peer:
    """Postfix's smtp-source on connections that it keeps (`-d`): plain SMTP, which fills in and records nothing."""
    path = program("smtp-source", install="Debian's postfix package")
    words = letters() / "letter.eml"

    def send(port: int, count: int, connections: int) -> Turn:
        command = [path, "-d", "-N", "-s", connections, "-m", count, "-F", words]
        command += ["-f", "owner@acme.example", "-t", "p1@example.com", f"127.0.0.1:{port}"]
        began = time.perf_counter()
        subprocess.run([str(word) for word in command], check=True, capture_output=True, timeout=_TIMEOUT)
        return Turn(count, time.perf_counter() - began)

    return send


def _turn(command: list[object], count: int, *, cwd: Path = HERE) -> Turn:
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=cwd, capture_output=True, text=True, timeout=_TIMEOUT, check=False)
    if done.returncode:
        raise RuntimeError(f"{words[1]} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    figures = json.loads(done.stdout.splitlines()[-1])
    if figures["sent"] != count:
        raise RuntimeError(f"{words[1]} sent {figures['sent']} of {count}")
    return Turn(count, figures["seconds"])


def _fetch(command: list[object], cwd: Path, what: str) -> None:
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=cwd, capture_output=True, text=True, timeout=_TIMEOUT, check=False)
    if done.returncode:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise Missing(f"{what} could not be fetched: {last[0][:200]}")
