"""`ownpost up`: everything on one machine, in one terminal.

The order of starting: Redis, the capture mailbox and the migration side by side, since none needs another; then all
the rest side by side. The order of stopping: what makes and sends letters, the mailbox they go to, Redis.
"""

from __future__ import annotations

import gc
import http.client
import importlib
import os
import re
import shutil
import socket
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

import redis

from panel import embedded
from panel.config import ConfigError, Settings
from panel.mailbox.key import link_key
from panel.partlog import PartLog
from panel.process import notify_ready
from panel.smtp.settings import parse_smtp_url
from panel.supervise import Part, PartFailed, StopRequested, Supervisor

# Four connection tests side by side.
INTERACTIVE_WORKERS = 4
WIDTH = len("housekeeping")
# What listens on every address is reached by this one.
REACHED_BY = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - only compared with

REDIS_STAMP = re.compile(r"^\d+:(?:[A-Z] \d+ \w+ \d{4} [\d:.]+ [#*.-]|signal-handler \(\d+\)) ")
# The warning about memory is for Redis of many gigabytes; this one holds the ids of jobs.
REDIS_SMALL_TALK = (
    "oO0OoO0OoO0Oo Redis is starting",
    "oO0OoO0OoO0Oo Valkey is starting",
    "Redis version=",
    "Valkey version=",
    "Configuration loaded",
    "Server initialized",
    "WARNING Memory overcommit must be enabled",
    "WARNING overcommit_memory is set to 0",
    "Received SIGTERM scheduling shutdown",
    "User requested shutdown",
    "Redis is now ready to exit",
    "Valkey is now ready to exit",
)


class CannotStart(Exception):
    """Why, and what to do about it, in words for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    host: str
    port: int
    data_dir: Path
    workers: int
    demo: bool

    @property
    def reached_at(self) -> str:
        return REACHED_BY.get(self.host, self.host)

    @property
    def url(self) -> str:
        host = f"[{self.reached_at}]" if ":" in self.reached_at else self.reached_at
        return f"http://{host}:{self.port}"


def run(*, host: str, port: int, data_dir: Path, workers: int, demo: bool) -> int:
    """Runs it all until Ctrl-C or SIGTERM. Returns the exit code: 0, or 1 when it could not start."""
    plan = _Plan(host=host, port=port, data_dir=data_dir.absolute(), workers=workers, demo=demo)
    coloured = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    log = PartLog(stream=sys.stdout, width=WIDTH, coloured=coloured)
    try:
        _run(plan, log)
    except (CannotStart, ConfigError, PartFailed, embedded.RuntimeFolderUnusable) as error:
        sys.stderr.write(f"ownpost: {error}\n")
        return 1
    except StopRequested:
        log.write("up", "stopped before everything had started")
    return 0


def _run(plan: _Plan, log: PartLog) -> None:
    began = time.monotonic()
    # Whatever the parts write below the data directory is for this user only.
    os.umask(0o077)
    embedded.make_private(plan.data_dir)
    with ExitStack() as stack:
        stack.enter_context(_lock(plan))
        _require_free_port(plan)
        runtime = embedded.runtime_folder(plan.data_dir)
        stack.callback(shutil.rmtree, runtime, ignore_errors=True)
        environ = _environment(plan, runtime)
        Settings.from_env(environ)
        embedded.save_settings(plan.data_dir, environ)
        supervisor = stack.enter_context(Supervisor(runtime=runtime, log=log))
        servers = _servers(plan, environ, runtime)
        supervisor.start(*servers)
        _import_what_parts_share()
        migration = _panel("migrate", environ, "db", "upgrade", once=True)
        supervisor.start(migration)
        supervisor.wait(*servers, migration)
        programs = _programs(plan, environ)
        supervisor.start(*programs)
        supervisor.wait(*programs)
        notify_ready()
        log.plain(_greeting(plan, supervisor, environ["OWNPOST_SECRET_KEY"], time.monotonic() - began))
        supervisor.run()
        log.write("up", "stopping; letters on their way may finish")
    log.write("up", "stopped")


def _lock(plan: _Plan) -> IO[str]:
    try:
        return embedded.take_lock(plan.data_dir, url=plan.url)
    except embedded.AlreadyRunning as other:
        raise CannotStart(
            f"already running on this data directory: {other.url} (process {other.pid}). "
            "Stop that one first, or give this one another --data-dir and --port."
        ) from None


def _require_free_port(plan: _Plan) -> None:
    refusal = embedded.why_not_listen(plan.host, plan.port)
    if refusal:
        raise CannotStart(
            f"cannot listen on {plan.host} port {plan.port}: {refusal}. "
            "Choose another with --port (`make up PORT=8001`)."
        )


def _environment(plan: _Plan, runtime: Path) -> dict[str, str]:
    """What the parts are given: defaults for one machine, under whatever the operator's environment says."""
    # An empty variable counts as none; and if a service manager waits for word, it is this process's word.
    given = {name: value for name, value in os.environ.items() if value and name != "NOTIFY_SOCKET"}
    environ = {
        "DATABASE_URL": f"sqlite:///{plan.data_dir / 'ownpost.sqlite3'}",
        "REDIS_URL": f"unix://{_redis_socket(runtime)}",
        "OWNPOST_PUBLIC_URL": plan.url,
        **embedded.keys(plan.data_dir),
    }
    if _captures(given):
        port = embedded.free_port(plan.data_dir / "mailbox.port")
        environ["OWNPOST_PLATFORM_SMTP_URL"] = f"smtp://127.0.0.1:{port}?security=none"
        environ["OWNPOST_MAILBOX_DIR"] = str(plan.data_dir / "mailbox")
    return {**environ, **given, "OWNPOST_DATA_DIR": str(plan.data_dir), "PYTHONUNBUFFERED": "1"}


def _captures(given: Mapping[str, str]) -> bool:
    """Without a platform server of the operator's, its letters go to the capture mailbox."""
    return not given.get("OWNPOST_PLATFORM_SMTP_URL")


def _redis_socket(runtime: Path) -> Path:
    return runtime / "redis.sock"


def _servers(plan: _Plan, environ: Mapping[str, str], runtime: Path) -> list[Part]:
    parts = []
    if environ["REDIS_URL"] == f"unix://{_redis_socket(runtime)}":
        parts.append(_redis(plan, environ, _redis_socket(runtime)))
    else:
        _require_redis(environ["REDIS_URL"])
    if _captures(os.environ):
        parts.append(_mailbox(environ))
    return parts


def _programs(plan: _Plan, environ: Mapping[str, str]) -> list[Part]:
    serve = ("web", "--host", plan.host, "--port", str(plan.port))
    parts = [_panel("web", environ, *serve, ready=partial(_answers_http, plan.reached_at, plan.port))]
    for queue, count in (("interactive", INTERACTIVE_WORKERS), ("delivery", plan.workers), ("housekeeping", 1)):
        parts.append(_panel(queue, environ, "worker", "--queue", queue, "--count", str(count)))
    parts.append(_panel("ticker", environ, "ticker"))
    if plan.demo:
        parts.append(_panel("demo", environ, "demo", once=True, aside=True))
    return parts


def _import_what_parts_share() -> None:
    """Imports once what otherwise each of the forked parts would: that is most of the time they take to start."""
    routes = [f"panel.{path.parent.name}.routes" for path in Path(__file__).parent.glob("*/routes.py")]
    for module in ("jobs.ticker", "jobs.worker", "panel.migrations.runner", "panel.server", *routes):
        importlib.import_module(module)
    # Parents and children share what lies in memory until one writes to it, as the collector would.
    gc.freeze()


def _panel(
    name: str,
    environ: Mapping[str, str],
    *arguments: str,
    ready: Callable[[], bool] | None = None,
    once: bool = False,
    aside: bool = False,
) -> Part:
    def command() -> None:
        from panel import cli  # it is what imports this module

        cli.main(arguments, prog_name="ownpost")

    return Part(name=name, command=command, environ=environ, ready=ready, once=once, aside=aside)


def _redis(plan: _Plan, environ: Mapping[str, str], socket_path: Path) -> Part:
    binary = embedded.find_redis_server()
    if binary is None:
        raise CannotStart(
            "Redis is needed and was not found. Install redis-server or valkey-server "
            "(Debian and Ubuntu: apt-get install redis-server), or set REDIS_URL."
        )
    directory = plan.data_dir / "redis"
    embedded.make_private(directory)
    command = embedded.redis_command(binary=binary, socket_path=socket_path, directory=directory)
    ready = partial(embedded.answers_ping, socket_path)
    return Part(name="redis", command=command, environ=environ, ready=ready, wave=2, reword=_redis_words)


def _redis_words(line: str) -> str:
    """Redis's line without its own time stamp; nothing for what it says at each start and stop."""
    words = REDIS_STAMP.sub("", line).rstrip()
    return "" if words.startswith(REDIS_SMALL_TALK) else words


def _require_redis(url: str) -> None:
    try:
        with redis.Redis.from_url(url, socket_connect_timeout=5) as client:
            client.ping()
    except redis.RedisError as error:
        raise CannotStart(f"REDIS_URL: Redis does not answer there: {error}") from None


def _mailbox(environ: Mapping[str, str]) -> Part:
    server = parse_smtp_url(environ["OWNPOST_PLATFORM_SMTP_URL"])
    directory = Path(environ["OWNPOST_MAILBOX_DIR"])
    embedded.make_private(directory)
    # Run as a file and not as a module: it needs nothing of the panel, and so starts in a tenth of the time.
    program = Path(__file__).parent / "mailbox" / "capture.py"
    command = [sys.executable, "-P", str(program), str(directory), str(server.port)]
    ready = partial(_greets, server.port)
    return Part(name="mailbox", command=command, environ=environ, ready=ready, wave=1)


def _greets(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=0.5) as sock:
            return sock.recv(16).startswith(b"220")
    except OSError:
        return False


def _answers_http(host: str, port: int) -> bool:
    connection = http.client.HTTPConnection(host, port, timeout=0.5)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _greeting(plan: _Plan, supervisor: Supervisor, secret_key: str, seconds: float) -> str:
    lines = [f"Ownpost is ready: {plan.url}  (in {seconds:.1f} s)"]
    lines += supervisor.output("demo")
    if _captures(os.environ):
        lines.append("Letters of the platform's own server end up in the mailbox, which this link opens:")
        lines.append(f"{plan.url}/mailbox?key={link_key(secret_key)}")
    lines.append("Ctrl-C stops it.")
    return "\n".join(["", *(f"  {line}" for line in lines), ""])
