"""`ownpost web`, `worker` and `ticker` as an operator runs them, and whom they called while they ran."""

from __future__ import annotations

import http.cookiejar
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis

from tests.support.ports import free_port
from tests.support.wait import wait_for

WATCH = Path(__file__).parent / "watch"
ROOT = Path(__file__).parents[2]
PARTS = {
    "web": ("web", "--port", "{port}"),
    "interactive": ("worker", "--queue", "interactive"),
    "delivery": ("worker", "--queue", "delivery"),
    "ticker": ("ticker",),
}


@dataclass(frozen=True, slots=True)
class Call:
    """Something that a part did, as the audit hook saw it."""

    part: str
    event: str
    family: str
    what: Any

    @property
    def dialled(self) -> tuple[str, int] | None:
        """Address and port, where it was about one."""
        if self.family in ("AF_INET", "AF_INET6"):
            return str(self.what[0]), int(self.what[1])
        return None


class Watched:
    """The four processes. `environ` is what all of them are given."""

    def __init__(self, folder: Path, environ: dict[str, str]) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._folder = folder
        self._redis = redis.Redis.from_url(environ["REDIS_URL"])
        self._processes = {part: self._start(part, environ) for part in PARTS}

    def _start(self, part: str, environ: dict[str, str]) -> subprocess.Popen[bytes]:
        arguments = [argument.format(port=self.port) for argument in PARTS[part]]
        env = {
            **{name: value for name, value in os.environ.items() if not name.startswith("OWNPOST_")},
            **environ,
            "OWNPOST_PUBLIC_URL": self.url,
            "OWNPOST_TESTS_WATCH": str(self._folder / f"{part}.calls"),
            "PYTHONPATH": os.pathsep.join((str(WATCH), str(ROOT))),
        }
        with (self._folder / f"{part}.log").open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "panel.cli", *arguments], env=env, stdout=log, stderr=log, cwd=self._folder
            )

    def wait_until_ready(self) -> None:
        """Until the panel answers, the ticker has been seen, and tests are taken up."""
        wait_for(self._ready, 90, what="the panel and a worker for tests")

    def _ready(self) -> bool:
        for part, process in self._processes.items():
            assert process.poll() is None, f"{part} ended: {self.logs()}"
        try:
            with urllib.request.urlopen(f"{self.url}/readyz", timeout=5) as answer:
                return answer.status == 200 and bool(self._redis.scard("rq:workers:interactive"))
        except OSError:
            return False

    def logs(self) -> str:
        """What the processes have written."""
        return "\n".join(f"{part}: {(self._folder / f'{part}.log').read_text()[-3000:]}" for part in PARTS)

    def calls(self) -> list[Call]:
        """All that the hooks have seen."""
        return [
            Call(part, *json.loads(line))
            for part in PARTS
            for line in (self._folder / f"{part}.calls").read_text().splitlines()
        ]

    def stop(self) -> None:
        for process in self._processes.values():
            process.send_signal(signal.SIGTERM)
        for process in self._processes.values():
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(5)


@dataclass(frozen=True, slots=True)
class Page:
    """An answer of the panel, after its redirects."""

    status: int
    url: str
    text: str


class Person:
    """A browser without JavaScript, over a real connection."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()))
        self._token = ""

    def sign_in(self, email: str, password: str) -> None:
        self.get("/login")
        page = self.post("/login", email=email, password=password)
        assert page.status == 200, page.text
        assert "/login" not in page.url, page.text

    def get(self, path: str) -> Page:
        return self._open(urllib.request.Request(urllib.parse.urljoin(self._url, path)))

    def post(self, path: str, **fields: Any) -> Page:
        body = urllib.parse.urlencode({"csrf_token": self._token, **fields}).encode()
        return self._open(urllib.request.Request(urllib.parse.urljoin(self._url, path), body))

    def over(self, page: Page, timeout: float = 25) -> str:
        """Waits for the end of the live task that a page shows, and returns the page as it is then."""
        end = time.monotonic() + timeout
        while "data-result=" not in page.text:
            assert "data-live-task" in page.text, page.text
            assert time.monotonic() < end, page.text
            time.sleep(0.05)
            page = self.get(page.url)
        return page.text

    def _open(self, request: urllib.request.Request) -> Page:
        try:
            with self._opener.open(request, timeout=30) as answer:
                page = Page(answer.status, answer.url, answer.read().decode())
        except urllib.error.HTTPError as error:
            page = Page(error.code, error.url, error.read().decode())
        if found := re.search(r'name="csrf_token"[^>]*value="([^"]+)"', page.text):
            self._token = found[1]
        return page


class Program:
    """Calls the API with a key."""

    def __init__(self, url: str, key: str) -> None:
        self._url, self._key = url, key

    def ask(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self._key}", "Content-Type": "application/json"}
        octets = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(f"{self._url}/api/v1{path}", octets, headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            found: dict[str, Any] = json.loads(answer.read())
            return found

    def state(self, delivery: str) -> str:
        return str(self.ask(f"/deliveries/{delivery}")["state"])
