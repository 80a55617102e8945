"""One real PostgreSQL for the whole test run, with a database for each test process.

All xdist workers share one cluster. Each user holds a shared lock on a file; a keeper process (this module run as a
program) starts the server and stops it once nobody holds that lock, which also happens when the users are killed.
"""

from __future__ import annotations

import fcntl
import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psycopg

from panel.process import die_with_parent

from .wait import wait_for

SUPERUSER = "ownpost"
# Durability is not what tests are about; without it the cluster starts and commits several times faster.
SERVER_OPTIONS = [
    "listen_addresses=", "fsync=off", "synchronous_commit=off", "full_page_writes=off",
    "max_connections=200", "shared_buffers=64MB", "log_min_messages=fatal",
]  # fmt: skip
# What was committed survives a crash of the server, if not one of the machine.
DURABLE = [option for option in SERVER_OPTIONS if option != "synchronous_commit=off"]


def postgres_bin() -> Path | None:
    """The folder with initdb and postgres: Debian keeps them off PATH."""
    candidates = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    on_path = shutil.which("initdb")
    if on_path:
        candidates.append(Path(on_path).resolve().parent)
    return next(
        (folder for folder in candidates if (folder / "initdb").exists() and (folder / "postgres").exists()), None
    )


class Cluster:
    """A PostgreSQL cluster of its own in a temporary directory, on a unix socket only."""

    def __init__(self, binaries: Path, *, options: Sequence[str] = SERVER_OPTIONS) -> None:
        self._binaries = binaries
        self._options = options
        self.directory = Path(tempfile.mkdtemp(prefix="ownpost-pg-"))
        self._process: subprocess.Popen[bytes] | None = None
        self._identity = _unprivileged()
        if self._identity:
            os.chown(self.directory, self._identity["user"], self._identity["group"])
        subprocess.run(
            [binaries / "initdb", "-D", self.directory / "data", "-U", SUPERUSER, "-A", "trust", "-E", "UTF8",
             "--locale=C.UTF-8", "--no-sync", "--no-instructions"],
            check=True, capture_output=True, cwd="/", **self._identity,
        )  # fmt: skip

    def start(self) -> None:
        options = [part for option in self._options for part in ("-c", option)]
        command = [self._binaries / "postgres", "-D", self.directory / "data", "-k", self.directory, *options]
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, cwd="/", preexec_fn=die_with_parent, **self._identity
            )
        wait_for(self._ready, 100, what="PostgreSQL accepting connections")

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """SIGINT is PostgreSQL's fast shutdown; SIGQUIT is as good as a crash."""
        if self._process:
            self._process.send_signal(how)
            self._process.wait(30)
            self._process = None

    def limit_files(self, size: int | str) -> None:
        """Lets none of its processes write beyond this place of a file, as on a full disk; "unlimited" ends that."""
        assert self._process is not None
        children = subprocess.run(["pgrep", "-P", str(self._process.pid)], check=False, capture_output=True, text=True)
        for pid in (str(self._process.pid), *children.stdout.split()):
            # One that has just ended is no failure.
            subprocess.run(
                ["prlimit", "--pid", pid, f"--fsize={size}:"], check=False, capture_output=True, **self._identity
            )

    def remove(self) -> None:
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self.directory, ignore_errors=True)

    def url(self, database: str) -> str:
        return url_of(self.directory, database)

    def _ready(self) -> bool:
        try:
            psycopg.connect(host=str(self.directory), user=SUPERUSER, dbname="postgres").close()
        except psycopg.OperationalError:
            return False
        return True


def url_of(socket_directory: Path, database: str) -> str:
    return f"postgresql+psycopg://{SUPERUSER}@/{database}?host={socket_directory}"


def fresh_database(socket_directory: Path, database: str) -> str:
    """Makes an empty database of this name, dropping an earlier one, and returns its SQLAlchemy URL."""
    with psycopg.connect(host=str(socket_directory), user=SUPERUSER, dbname="postgres", autocommit=True) as connection:
        connection.execute(f'DROP DATABASE IF EXISTS "{database}" WITH (FORCE)')
        connection.execute(f'CREATE DATABASE "{database}"')
    return url_of(socket_directory, database)


class SharedCluster:
    """This process's hold on the run's one cluster. `shared` is a folder that all processes of the run see."""

    def __init__(self, shared: Path, binaries: Path) -> None:
        self._state = shared / "postgres.json"
        self._hold = (shared / "postgres.users").open("w")
        with (shared / "postgres.start").open("w") as start:
            fcntl.flock(start, fcntl.LOCK_EX)
            fcntl.flock(self._hold, fcntl.LOCK_SH)
            if not self._state.exists():
                command = [sys.executable, "-m", __name__, shared, binaries]
                quiet = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
                subprocess.Popen(command, start_new_session=True, **quiet)
            state = wait_for(self._read_state, 60, what="PostgreSQL for the test run")
        if "error" in state:
            raise RuntimeError(state["error"])
        self.socket_directory = Path(state["socket_directory"])

    def _read_state(self) -> dict[str, str] | None:
        return json.loads(self._state.read_text()) if self._state.exists() else None

    def release(self) -> None:
        self._hold.close()


def keep(shared: Path, binaries: Path) -> None:
    """Runs a cluster until nobody uses it any more."""
    state = shared / "postgres.json"
    try:
        cluster = Cluster(binaries)
        cluster.start()
    except (OSError, subprocess.CalledProcessError, TimeoutError) as error:
        _write(state, {"error": f"PostgreSQL did not start: {error} {getattr(error, 'stderr', None) or ''}"})
        return
    _write(state, {"socket_directory": str(cluster.directory)})
    with (shared / "postgres.start").open("w") as start, (shared / "postgres.users").open("w") as users:
        while True:
            # The start lock first: nobody can begin to use the cluster between this look and its end.
            fcntl.flock(start, fcntl.LOCK_EX)
            try:
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                fcntl.flock(start, fcntl.LOCK_UN)
                time.sleep(0.2)
            else:
                state.unlink()
                cluster.remove()
                return


def _write(path: Path, state: dict[str, str]) -> None:
    draft = path.with_suffix(".draft")
    draft.write_text(json.dumps(state))
    draft.replace(path)


def _unprivileged() -> dict[str, Any]:
    """PostgreSQL refuses to run as root, so root lends it another user's identity."""
    if os.geteuid() != 0:
        return {}
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    entry = known.get("postgres") or known["nobody"]
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


if __name__ == "__main__":
    keep(Path(sys.argv[1]), Path(sys.argv[2]))
