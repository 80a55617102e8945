"""One password, typed, tested, saved, sent with, refused, and mentioned in a crash: nobody ever sees it again.

All parts run as processes of their own. Everything that they write to Redis is watched, so that what is deleted a
moment later is seen, too.
"""

from __future__ import annotations

import base64
import http.cookiejar
import io
import os
import re
import subprocess
import sys
import threading
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import redis
from sqlalchemy import select, text

from panel import db
from panel.db import Base
from panel.outbox.models import Delivery
from panel.servers.models import MailServer as ServerRow
from tests.deliveries.conftest import Post, platform, post
from tests.ops.canary import Canary, Watch, everything_in
from tests.support.mailserver import Peer, ScriptedServer
from tests.support.ports import free_port
from tests.support.wait import wait_for
from tests.support.world import PASSWORD

__all__ = ["platform", "post"]

pytestmark = pytest.mark.timeout(600)

CANARY = Canary("kana+rie/4f1c & \"<zwitscher'n>")
USER = "hello@acme.test"


class Own:
    """The owner's server. `mode`: it accepts, refuses and repeats what it was told, or accepts once it is let go on."""

    def __init__(self) -> None:
        self.mode = "accept"
        self.letters = 0
        self.heard = threading.Event()
        self.go_on = threading.Event()

    def play(self, peer: Peer) -> None:
        peer.greet("AUTH PLAIN", "8BITMIME")
        signed_in = peer.hear("AUTH PLAIN").decode().split()[-1]
        if self.mode == "refuse":
            told = base64.b64encode(CANARY.password.encode()).decode()
            peer.say(f"535 5.7.8 wrong: {CANARY.password} {told} {signed_in}")
            peer.hear("QUIT")
            return
        if self.mode == "wait":
            self.heard.set()
            assert self.go_on.wait(15)
        peer.say("235 2.7.0 ok")
        self._converse(peer)

    def _converse(self, peer: Peer) -> None:
        while True:
            line = peer.hear().upper()
            if line.startswith(b"DATA"):
                peer.say("354 go ahead")
                peer.hear_letter()
                self.letters += 1
                peer.say("250 2.0.0 taken")
            elif line.startswith(b"QUIT"):
                peer.say("221 bye")
                return
            else:
                peer.say("250 ok")


@dataclass
class Parts:
    """Web, ticker and workers, as processes that write into one log."""

    environ: dict[str, str]
    log: Path
    port: int
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, name: str, *arguments: str) -> None:
        with self.log.open("ab") as out:
            command = [sys.executable, "-m", "panel.cli", *arguments]
            self.running[name] = subprocess.Popen(command, env=self.environ, stdout=out, stderr=out)

    def start_all(self) -> None:
        self.start("web", "web", "--port", str(self.port))
        self.start("ticker", "ticker")
        for queue in ("interactive", "delivery", "housekeeping"):
            self.start(queue, "worker", "--queue", queue)

    def stop(self, name: str) -> None:
        process = self.running.pop(name)
        process.terminate()
        process.wait(20)

    def stop_all(self) -> None:
        for process in self.running.values():
            process.terminate()
        for process in self.running.values():
            process.wait(20)
        self.running.clear()


class Person:
    """Somebody with a browser; `seen` is whatever it was shown."""

    def __init__(self, port: int) -> None:
        self._base = f"http://127.0.0.1:{port}"
        self._jar = http.cookiejar.CookieJar()
        self._opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self._jar))
        self._token = ""
        self.seen: list[bytes] = []
        self.url = ""

    def get(self, path: str, **headers: str) -> bytes:
        return self._open(urllib.request.Request(self._base + path, headers=headers))

    def post(self, path: str, **fields: str) -> bytes:
        body = urllib.parse.urlencode({"csrf_token": self._token, **fields}).encode()
        return self._open(urllib.request.Request(self._base + path, body))

    def _open(self, request: urllib.request.Request) -> bytes:
        try:
            answer = self._opener.open(request, timeout=40)
        except urllib.error.HTTPError as error:
            answer = error
        self.url = urllib.parse.urlsplit(answer.url).path
        shown: bytes = answer.read()
        self.seen += [shown, str(answer.headers).encode(), answer.url.encode()]
        found = re.search(rb'name="csrf_token"[^>]*value="([^"]+)"', shown)
        self._token = found[1].decode() if found else self._token
        return shown

    def is_there(self) -> bool:
        with suppress(OSError):
            return self.get("/healthz") == b"ok"
        return False


@contextmanager
def _no_servers() -> Iterator[None]:
    """Whoever asks for mail servers meanwhile runs into an error that nobody expects."""

    def rename(before: str, after: str) -> None:
        with db.engine().begin() as connection:
            connection.execute(text(f"ALTER TABLE {before} RENAME TO {after}"))

    db.engine().dispose()
    rename("mail_servers", "mail_servers_away")
    try:
        yield
    finally:
        rename("mail_servers_away", "mail_servers")


def _states(post: Post) -> set[str]:
    with post.world.acme_scope() as session:
        wanted = select(Delivery.state).where(Delivery.kind != "system", Delivery.state != "canceled")
        return set(session.scalars(wanted))


@pytest.fixture
def own() -> Iterator[tuple[Own, int]]:
    played = Own()
    with ScriptedServer(played.play) as server:
        yield played, server.port


@pytest.fixture
def parts(post: Post, own: tuple[Own, int], tmp_path: Path) -> Iterator[Parts]:
    """Everything that runs in production, with the owner's server allowed."""
    post.world.reconfigure(OWNPOST_SMTP_ALLOW=f"127.0.0.1:{own[1]}", OWNPOST_LIMIT_TESTS="100/minute")
    environ = {**os.environ, **post.world.environ, "OWNPOST_TICKER_SECONDS": "0.5"}
    made = Parts(environ, tmp_path / "processes.log", free_port())
    made.start_all()
    yield made
    made.stop_all()


def test_nobody_ever_sees_the_password_again(post: Post, own: tuple[Own, int], parts: Parts, redis_client: redis.Redis):
    server, port = own
    person = Person(parts.port)
    form = f"/settings/email/{post.address_id}/server"
    fields = {
        "preset": "other", "host": "127.0.0.1", "port": str(port), "security": "none", "auth": "plain",
        "username": USER, "password": CANARY.password,
    }  # fmt: skip

    def press(action: str, **changed: str) -> bytes:
        person.get(form)
        return person.post(form, **{**fields, "action": action, **changed})

    def follow(result: str) -> None:
        assert f'data-result="{result}"'.encode() in person.get(f"{person.url}/stream", Accept="text/event-stream")

    wait_for(person.is_there, 90, what="the panel")
    wait_for(lambda: redis_client.scard("rq:workers:interactive"), 60, what="a worker for tests")
    with Watch(redis_client) as watch:
        person.get("/login")
        person.post("/login", email="owner@acme.test", password=PASSWORD)
        # Typed with a slip in another field: the form comes back without it.
        assert b"<form" in press("save", port="99999")
        press("test")
        follow("ok")
        server.mode = "refuse"
        press("test")
        follow("failed")
        server.mode = "accept"
        press("save")  # what has passed a test just now is saved at once
        _send(post, server, lambda: server.letters >= 1)
        _refuse(post, server)
        _crash_of_the_page(person, press)
        _crash_of_a_job(person, press, server, parts.log)
        _untested(post, parts, press, redis_client, server)
        for path in _pages(post, form):
            person.get(path)
        person.seen += _unzipped(person.post("/settings/account/export"))
        person.get("/settings/audit.csv")
        person.get("/metrics")
    parts.stop_all()
    assert server.letters >= 1
    log = parts.log.read_bytes()
    assert log.count(b"Traceback") >= 2  # both crashes
    assert len(watch.values) > 200
    assert CANARY.found_in(*person.seen) == []
    assert CANARY.found_in(*watch.values) == []
    assert CANARY.found_in(*everything_in(redis_client)) == []
    assert CANARY.found_in(log) == []
    assert CANARY.found_in(*_database(post)) == []


def _send(post: Post, server: Own, done: Callable[[], bool]) -> None:
    with post.world.acme_scope() as session:
        assert session.scalars(select(ServerRow.enabled)).one()
    post.join(f"robin{server.letters}@friends.test")
    wait_for(done, 30, what="the letter")
    wait_for(lambda: _states(post) == {"sent"}, 20, what="its record")


def _refuse(post: Post, server: Own) -> None:
    """The stored password is refused, and the server repeats it: that goes into the log of deliveries and to owners."""
    server.mode = "refuse"
    with post.world.acme_scope():
        from panel.servers import service as servers

        servers.choose_fallback(post.address_id, fallback=False, by=servers.By())
    with db.system_scope("tests"), db.transaction() as session:
        session.execute(text("UPDATE mail_servers SET version = version + 1"))  # no warm connection is used any more
    post.join("refused@friends.test")
    wait_for(lambda: "held" in _states(post), 30, what="the refusal")


def _crash_of_the_page(person: Person, press: Callable[..., bytes]) -> None:
    with _no_servers():
        answer = press("save")
    assert b"Something went wrong on our side" in answer


def _crash_of_a_job(person: Person, press: Callable[..., bytes], server: Own, log: Path) -> None:
    """The test passes, and what is then to be saved cannot be."""
    before = log.stat().st_size
    server.mode = "wait"
    press("save", username="another@acme.test")
    assert server.heard.wait(20)
    with _no_servers():
        server.go_on.set()
        wait_for(lambda: b"Traceback" in log.read_bytes()[before:], 20, what="the crash")
    person.get(f"{person.url}/stream", Accept="text/event-stream")


def _untested(post: Post, parts: Parts, press: Callable[..., bytes], redis_client: redis.Redis, server: Own) -> None:
    """A test that no worker takes up leaves what was typed for two minutes at most, and sealed."""
    server.mode = "accept"
    parts.stop("interactive")
    press("test")
    [left] = redis_client.keys("ownpost:live:*:input")
    assert 0 < redis_client.ttl(left) <= 120
    assert CANARY.found_in(redis_client.get(left) or b"") == []


def _pages(post: Post, form: str) -> list[str]:
    with post.world.acme_scope() as session:
        deliveries = list(session.scalars(select(Delivery.id)))
    campaign = f"/campaigns/{post.campaign_id}"
    return [
        "/", "/campaigns", f"{campaign}/edit", f"{campaign}/notifications", f"{campaign}/participants", "/deliveries",
        "/suppressions", "/settings/email", form, f"{form}/usage", "/settings/data", "/settings/audit", "/readyz",
        *(f"/deliveries/{number}" for number in deliveries),
        *(f"/deliveries/{number}/letter.eml" for number in deliveries),
    ]  # fmt: skip


def _unzipped(data: bytes) -> list[bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return [archive.read(name) for name in archive.namelist()]


def _database(post: Post) -> Iterator[bytes]:
    """All of it: as its own queries give it and, where it is a file, as it lies on the disk."""
    with db.engine().connect() as connection:
        for table in Base.metadata.sorted_tables:
            for row in connection.execute(select(table)):
                yield "\n".join(map(str, row)).encode()
    url = post.world.settings.database_url
    if url.startswith("sqlite"):
        for path in Path(url.removeprefix("sqlite:///")).parent.glob("ownpost.sqlite3*"):
            yield path.read_bytes()


def test_it_would_find_it():
    password = CANARY.password
    plain = base64.b64encode(f"\0{USER}\0{password}".encode())
    assert CANARY.found_in(f"x{password}y")
    assert CANARY.found_in(plain)
    assert CANARY.found_in(base64.b64encode(password.encode()))
    assert CANARY.found_in(urllib.parse.urlencode({"password": password}))
    assert not CANARY.found_in("nothing of the kind")
