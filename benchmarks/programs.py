"""The programs that a run needs around Ownpost: a mail server that takes all, a far network, databases, Redis."""

from __future__ import annotations

import os
import resource
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from panel.embedded import find_redis_server
from panel.process import die_with_parent
from tests.support.postgres import Cluster, postgres_bin
from tests.support.redisserver import RedisServer
from tests.support.wait import wait_for

HERE = Path(__file__).resolve().parent
CACHE = HERE.parent / ".bench"
"""What is fetched or built once: the peers, the delay proxy."""

POSTGRES_OPTIONS = ["listen_addresses=", "max_connections=200", "shared_buffers=256MB", "max_wal_size=4GB"]
"""Durability is left as PostgreSQL has it: fsync and synchronous_commit are on."""

SEARCH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"])


class Missing(Exception):
    """Something that a row needs is not on this machine; the text says what, and what to install."""


def program(name: str, *, install: str) -> str:
    """The path of a program. Raises Missing."""
    found = shutil.which(name, path=SEARCH)
    if found is None:
        raise Missing(f"{name} is not here; {install} brings it")
    return found


def free_port() -> int:
    """A TCP port on loopback that is free now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def listens(port: int) -> bool:
    """Whether something takes connections there."""
    with socket.socket() as sock:
        sock.settimeout(0.5)
        return sock.connect_ex(("127.0.0.1", port)) == 0


class Listener:
    """A program that listens on a port of its own until it is stopped."""

    def __init__(self, command: list[str], port: int) -> None:
        self.port = port
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=_in_child,
        )
        wait_for(lambda: listens(port), 60, what=f"{command[0]} listening")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()


def _in_child() -> None:
    die_with_parent()
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def sink() -> Listener:
    """Postfix's smtp-sink: a mail server that accepts every letter and keeps none, in a process of its own."""
    port = free_port()
    user = ["-u", "nobody"] if os.geteuid() == 0 else []
    path = program("smtp-sink", install="Debian's postfix package")
    return Listener([path, *user, "-m", "2000", f"127.0.0.1:{port}", "1024"], port)


def far(upstream: int, *, round_trip_ms: float) -> Listener:
    """A way to a port of this machine on which a round trip takes that long."""
    compiler = program("cc", install="Debian's gcc package")
    CACHE.mkdir(exist_ok=True)
    source, built = HERE / "delayproxy.c", CACHE / "delayproxy"
    if not built.exists() or built.stat().st_mtime < source.stat().st_mtime:
        draft = CACHE / f"delayproxy.{os.getpid()}"
        subprocess.run([compiler, "-O2", "-o", draft, source], check=True)
        draft.replace(built)
    port = free_port()
    return Listener([str(built), str(port), str(upstream), str(round_trip_ms / 2)], port)


@contextmanager
def redis_server() -> Iterator[RedisServer]:
    """A Redis of the run's own, as `ownpost up` would start it."""
    binary = find_redis_server()
    if binary is None:
        raise Missing("redis-server is not here; Debian's redis-server package brings it")
    server = RedisServer(binary)
    server.start()
    try:
        yield server
    finally:
        server.remove()


@contextmanager
def postgres() -> Iterator[Cluster]:
    """A PostgreSQL cluster of the run's own."""
    binaries = postgres_bin()
    if binaries is None:
        raise Missing("PostgreSQL is not here; Debian's postgresql package brings it")
    cluster = Cluster(binaries, options=POSTGRES_OPTIONS)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.remove()


def child(*words: str, environ: dict[str, str], timeout: float = 3600) -> str:
    """Runs a module of this environment's Python to its end and returns what it prints."""
    done = subprocess.run(
        [sys.executable, "-m", *words], env=clean(environ), capture_output=True, text=True, timeout=timeout,
        preexec_fn=die_with_parent, check=False,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"{words[0]} ended with {done.returncode}:\n{done.stderr[-4000:]}")
    return done.stdout


def clean(environ: dict[str, str]) -> dict[str, str]:
    """An environment for an Ownpost process that owes nothing to the one that this runs in."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("OWNPOST_", "REDIS_", "DATABASE_"))
    }
    return {**kept, **environ}
