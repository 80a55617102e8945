"""How soon pages come, alone and beside open streams, and how soon a published step is in a stream."""

from __future__ import annotations

import http.client
import random
import re
import selectors
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Self
from urllib.parse import urlencode

from flask_security import hash_password

from benchmarks import programs
from benchmarks.figures import Line, percentile, time_line
from benchmarks.ground import Ground, opened
from benchmarks.sending import Bench
from panel import db, live
from panel.accounts import service as accounts
from panel.campaigns import service as campaigns
from panel.livesteps import StepBoard
from panel.process import die_with_parent
from panel.smtp.settings import Security
from panel.smtp.steps import Step, StepEvent, StepState
from panel.suppressions import service as suppressions
from panel.web.sse import MAX_OF_ACCOUNT
from tests.support.wait import wait_for

EMAIL, PASSWORD = "reader@acme.example", "a long password for benchmarks"
_ROWS: Final = 400
_WARM_UP: Final = 20
_STEPS_PER_SECOND: Final = 100
_TRIES: Final = 500
_BETWEEN_TRIES: Final = 0.02


class Reader:
    """Somebody who is signed in and reads pages over one connection that is kept."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        self.cookies: dict[str, str] = {}

    def sign_in(self) -> Self:
        token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', self.get("/login").decode())
        assert token is not None
        form = urlencode({"csrf_token": token[1], "email": EMAIL, "password": PASSWORD})
        status, _ = self._ask("POST", "/login", form)
        if status != 302:
            raise RuntimeError(f"nobody was signed in: {status}")
        return self

    def get(self, path: str) -> bytes:
        """The page, which must be there."""
        status, body = self._ask("GET", path)
        if status != 200:
            raise RuntimeError(f"{path} answered {status}")
        return body

    def _ask(self, method: str, path: str, body: str | None = None) -> tuple[int, bytes]:
        headers = {"Cookie": self.cookie()}
        if body is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        self._connection.request(method, path, body, headers)
        answer = self._connection.getresponse()
        for line in answer.headers.get_all("Set-Cookie") or []:
            name, _, value = line.partition(";")[0].partition("=")
            self.cookies[name] = value
        return answer.status, answer.read()

    def cookie(self) -> str:
        return "; ".join(f"{name}={value}" for name, value in self.cookies.items())


@contextmanager
def web(ground: Ground, processes: int) -> Iterator[int]:
    """`ownpost web` on that ground; yields its port."""
    port = programs.free_port()
    command = [sys.executable, "-m", "panel.cli", "web", "--port", str(port), "--processes", str(processes)]
    with (Path(ground.environ["OWNPOST_DATA_DIR"]) / "web.log").open("wb") as log:
        process = subprocess.Popen(
            command, env=programs.clean(ground.environ), stdout=log, stderr=log, preexec_fn=die_with_parent
        )
    try:
        wait_for(lambda: programs.listens(port), 30, what="the panel")
        yield port
    finally:
        process.terminate()
        process.wait(30)


def _furnish(ground: Ground) -> list[str]:
    """Adds somebody who reads, and what the lists lack. Returns the pages with 50 rows."""
    with db.system_scope("a benchmark adds a reader"):
        accounts.add_user(account_id=ground.account_id, email=EMAIL, password_hash=hash_password(PASSWORD))
    with db.account_scope(ground.account_id), db.transaction():
        for number in range(80):
            suppressions.add(f"gone{number}@example.com", campaign_id=None, reason="unsubscribed", source="a link")
        assert campaigns.get(ground.campaign_id)
    return ["/deliveries", f"/campaigns/{ground.campaign_id}/participants", "/suppressions"]


def pages_and_streams(bench: Bench) -> list[Line]:
    """The three lists of fifty rows, one reader; then the same, and steps, with many streams open."""
    lines: list[Line] = []
    wanted = bench.sizes.streams
    processes = wanted // MAX_OF_ACCOUNT + 2  # who gets a stream is up to the kernel, so there must be some to spare
    for store in bench.stores:
        laid = store.lay("pages", port=programs.free_port(), people=_ROWS, letters=_ROWS)
        ground = store.fresh("pages", laid)
        with opened(ground.environ):
            paths = _furnish(ground)
            with web(ground, 1) as port:
                alone = _read(Reader(port).sign_in(), paths, bench.sizes.pages)
            lines.append(_page_line(f"a page with 50 rows, one client, {store.kind}", alone, most=20))
            with web(ground, processes) as port:
                reader = Reader(port).sign_in()
                with Streams(ground, port, reader.cookie(), wanted) as streams:
                    crowded = _read(reader, paths, bench.sizes.pages)
                    steps = streams.publish(bench.sizes.steps)
            words = f"with {wanted} open streams, {processes} web processes, {store.kind}"
            lines.append(_page_line(f"the same {words}", crowded, most=100))
            what = f"a step published → in the stream of a browser, {words}"
            lines.append(time_line(what, steps, goals={0.99: 50}))
    return lines


def _read(reader: Reader, paths: Sequence[str], times: int) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {path: [] for path in paths}
    warm_up = min(_WARM_UP, times)
    for number in range(warm_up + times):
        for path in paths:
            began = time.perf_counter()
            page = reader.get(path)
            took = time.perf_counter() - began
            if number == 0 and page.count(b"<tr") <= 50:
                raise RuntimeError(f"{path} has fewer than 50 rows")
            if number >= warm_up:
                found[path].append(took)
    return found


def _page_line(what: str, found: dict[str, list[float]], *, most: float) -> Line:
    """The line of whichever page is slowest."""
    path = max(found, key=lambda path: percentile(found[path], 0.99))
    name = re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", "…", path)
    return time_line(what, found[path], goals={0.99: most}, whole=f"`{name}`, the slowest of {len(found)}")


class Streams:
    """Many open streams, each of a connection test of its own that is under way, and when a step came to whom."""

    def __init__(self, ground: Ground, port: int, cookie: str, count: int) -> None:
        self._ground, self._port, self._cookie = ground, port, cookie
        self._tasks = [live.new_id() for _ in range(count)]
        self._boards = [self._board(task) for task in self._tasks]
        self._sockets: list[socket.socket] = []
        self._came: dict[bytes, float] = {}
        self._over = threading.Event()
        self._listener = threading.Thread(target=self._listen, daemon=True)

    def __enter__(self) -> Self:
        self._sockets = [self._open(task) for task in self._tasks]
        self._listener.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._listener.join()
        for sock in self._sockets:
            sock.close()

    def _board(self, task: str) -> StepBoard:
        account_id = self._ground.account_id
        # Taken up, and begun in an hour from now: so nobody gives it up while the run lasts.
        live.claim(account_id, task)
        board = StepBoard(
            account_id, task, security=Security.NONE, sending=False, started_at=time.time() + 3600,
            context={"preset": "other", "host": "mail.example", "port": 25, "security": "none"},
        )  # fmt: skip
        board.state("running", address_id=str(self._ground.address_id))
        return board

    def _open(self, task: str) -> socket.socket:
        """A stream that has begun. A process that has its fill of them answers 503, and another one is tried."""
        path = f"/settings/email/{self._ground.address_id}/server/tests/{task}/stream"
        asked = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: {self._cookie}\r\nAccept: text/event-stream\r\n\r\n"
        for _ in range(_TRIES):
            sock = socket.create_connection(("127.0.0.1", self._port), timeout=10)
            sock.sendall(asked.encode())
            head = sock.recv(65536)
            if head.startswith(b"HTTP/1.1 200 ") and b"text/event-stream" in head:
                return sock
            sock.close()
            if not head.startswith(b"HTTP/1.1 503 "):
                raise RuntimeError(f"a stream answered {head.splitlines()[:1]}")
            time.sleep(_BETWEEN_TRIES)
        raise RuntimeError("no web process takes one more stream")

    def _listen(self) -> None:
        with selectors.DefaultSelector() as selector:
            for sock in self._sockets:
                selector.register(sock, selectors.EVENT_READ)
            while not self._over.is_set():
                for key, _ in selector.select(0.2):
                    assert isinstance(key.fileobj, socket.socket)
                    octets = key.fileobj.recv(65536)
                    at = time.perf_counter()
                    if not octets:
                        selector.unregister(key.fileobj)
                    for mark in re.findall(rb"mark-[0-9a-f]{32}", octets):
                        self._came.setdefault(mark, at)

    def publish(self, count: int) -> list[float]:
        """Publishes steps of tasks picked by chance, a hundred a second. Returns what each took to its stream."""
        chance = random.Random(1)
        published: dict[bytes, float] = {}
        for _ in range(count):
            mark = f"mark-{uuid.uuid4().hex}"
            published[mark.encode()] = time.perf_counter()
            chance.choice(self._boards).observe(StepEvent(Step.CONNECT, StepState.RUNNING, detail=mark))
            time.sleep(1 / _STEPS_PER_SECOND)
        wait_for(lambda: published.keys() <= self._came.keys(), 30, what="every step in its stream")
        return [self._came[mark] - at for mark, at in published.items()]
