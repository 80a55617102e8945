"""`ownpost up`: starts everything, restarts what dies, stops everything, leaves nothing."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from panel import embedded
from panel.process import die_with_parent
from tests.support.needs import missing
from tests.support.ports import free_port
from tests.support.wait import wait_for

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc and relies on prctl: Linux only")

REDIS = (embedded.find_redis_server() or Path("redis-server")).name
# The mailbox is a program of its own, and goes by its interpreter's name.
MAILBOX = Path(sys.executable).name
PARTS = {REDIS, MAILBOX, "web", "interactive", "delivery", "housekeeping", "ticker"}


class Up:
    """A running `ownpost up`, and what it says."""

    def __init__(self, data_dir: Path, *options: str, port: int | None = None, **environ: str) -> None:
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.lines: list[str] = []
        ours = ("OWNPOST_", "REDIS_", "DATABASE_")
        self.environ = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        command = ["up", "--port", str(self.port), "--data-dir", str(data_dir), "--workers", "1", *options]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "panel.cli", *command],
            env={**self.environ, **environ},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            preexec_fn=die_with_parent,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self.process.stdout or ():
            self.lines.append(line.rstrip())

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def wait_until_ready(self) -> None:
        wait_for(lambda: "Ctrl-C stops it." in self.text or self.process.poll() is not None, 60)
        assert self.process.poll() is None, self.text
        wait_for(lambda: self.health()[0] == 200, 20, what="/readyz answering 200")

    def health(self) -> tuple[int, dict[str, object]]:
        """/readyz: status and JSON; status 0 when nothing listens."""
        try:
            with urllib.request.urlopen(f"{self.url}/readyz", timeout=5) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)
        except OSError:
            return 0, {}

    def parts(self) -> dict[str, int]:
        """Process ids of the parts by name."""
        return {name_of(pid): pid for pid in children(self.process.pid)}

    def ended(self) -> int:
        """The exit code, once all of its output is read."""
        code = self.process.wait(30)
        self._reader.join(10)
        return code

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.ended()


def children(pid: int) -> list[int]:
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def name_of(pid: int) -> str:
    """What `ps` calls it; "" once it has ended."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def family(pid: int) -> list[int]:
    """The process and all that descend from it."""
    return [pid, *(found for child in children(pid) for found in family(child))]


def alive(pids: list[int]) -> list[str]:
    """Which of these still run; a zombie does not."""
    found = []
    for pid in pids:
        try:
            state, *_ = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if state != "Z":
            found.append(f"{pid} {name_of(pid)}")
    return found


@pytest.fixture(scope="module", autouse=True)
def _redis_is_here() -> None:
    if embedded.find_redis_server() is None:
        missing("redis-server", install="apt-get install redis-server")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """One that stays up for several tests."""
    made = Up(tmp_path_factory.mktemp("up") / "var")
    try:
        made.wait_until_ready()
        yield made
    finally:
        made.end()


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "var"


def the_data_dir(running: Up) -> Path:
    arguments = running.process.args
    return Path(arguments[arguments.index("--data-dir") + 1])


def test_it_starts_every_part(running: Up):
    assert running.health()[0] == 200
    assert set(running.parts()) == PARTS
    assert len(children(running.parts()["interactive"])) == 4


def test_it_keeps_keys_and_data_to_its_user(running: Up):
    data_dir = the_data_dir(running)
    assert stat.S_IMODE(data_dir.stat().st_mode) == 0o700
    files = [path for path in data_dir.rglob("*") if path.is_file()]
    assert {"keys.env", "up.env", "ownpost.sqlite3"} <= {path.name for path in files}
    assert [path for path in files if stat.S_IMODE(path.stat().st_mode) & 0o077] == []
    assert {"OWNPOST_SECRET_KEY", "OWNPOST_ENCRYPTION_KEYS"} <= set(embedded.read_env(data_dir / "keys.env"))


def test_it_prints_a_link_that_opens_the_mailbox(running: Up):
    [link] = [line.strip() for line in running.lines if "/mailbox" in line]
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(f"{running.url}/mailbox", timeout=30)
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
    with browser.open(link, timeout=30) as page:
        assert page.url == f"{running.url}/mailbox"
        assert "No letters yet" in page.read().decode()


def test_it_names_the_part_on_each_line(running: Up):
    os.kill(running.parts()["ticker"], signal.SIGKILL)
    line = wait_for(lambda: next((one for one in running.lines if "ticker was killed by SIGKILL" in one), None))
    assert line[8:24] == " up           | "


def test_it_does_not_start_twice_on_one_data_directory(running: Up):
    second = Up(the_data_dir(running))
    assert second.ended() == 1
    assert f"already running on this data directory: {running.url} (process {running.process.pid})" in second.text


def test_it_says_when_the_port_is_taken(running: Up, data_dir: Path):
    second = Up(data_dir, port=running.port)
    assert second.ended() == 1
    assert f"cannot listen on 127.0.0.1 port {running.port}: Address already in use" in second.text


@pytest.mark.parametrize("name", ["web", REDIS, MAILBOX, "delivery", "housekeeping", "ticker"])
def test_it_starts_a_killed_part_again(running: Up, name: str):
    before = wait_for(lambda: running.parts().get(name))
    os.kill(before, signal.SIGKILL)
    wait_for(lambda: running.parts().get(name, before) != before, 20, what=f"another {name}")
    wait_for(lambda: running.health()[0] == 200, 30, what="/readyz answering 200 again")


def test_it_starts_the_workers_of_a_killed_part_again(running: Up):
    before = running.parts()["interactive"]
    orphans = children(before)
    os.kill(before, signal.SIGKILL)
    wait_for(lambda: alive(orphans) == [], what="the end of its four workers")
    wait_for(lambda: len(children(running.parts().get("interactive", 0))) == 4, 20, what="four others")


def test_it_serves_other_terminals_commands(running: Up):
    arguments = ["apikey", "add", "--account", "Nobody"]
    environ = {**running.environ, "OWNPOST_DATA_DIR": str(the_data_dir(running))}
    command = [sys.executable, "-m", "panel.cli", *arguments]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60)
    assert "There is no account 'Nobody'" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_everything_within_10_seconds(data_dir: Path, number: signal.Signals):
    up = Up(data_dir)
    up.wait_until_ready()
    processes = family(up.process.pid)
    began = time.monotonic()
    up.process.send_signal(number)
    assert up.ended() == 0
    assert time.monotonic() - began < 10
    assert alive(processes) == []
    assert "did not stop in time" not in up.text
    assert up.lines[-1].endswith("| stopped")


def test_it_stops_although_a_browser_still_holds_a_request_open(data_dir: Path):
    up = Up(data_dir)
    up.wait_until_ready()
    with socket.create_connection(("127.0.0.1", up.port)) as stream:
        stream.sendall(b"GET /login HTTP/1.1\r\nHost: 127.0.0.1\r\n")
        began = time.monotonic()
        up.process.send_signal(signal.SIGTERM)
        assert up.ended() == 0
    assert time.monotonic() - began < 10
    assert "did not stop in time" not in up.text


def test_it_keeps_its_keys_and_leaves_no_sockets_behind(data_dir: Path):
    keys = []
    for _ in range(2):
        up = Up(data_dir)
        up.wait_until_ready()
        runtime = embedded.runtime_folder(data_dir)
        assert (runtime / "redis.sock").is_socket()
        up.end()
        assert not runtime.exists()
        keys.append((data_dir / "keys.env").read_bytes())
    assert keys[0] == keys[1]


def test_it_leaves_nothing_when_it_is_killed(data_dir: Path):
    up = Up(data_dir)
    up.wait_until_ready()
    processes = family(up.process.pid)
    assert len(processes) > len(PARTS) + 4
    up.process.kill()
    wait_for(lambda: alive(processes) == [], 5, what="the end of every process")
    up.ended()
    again = Up(data_dir, port=up.port)
    try:
        again.wait_until_ready()
    finally:
        again.end()


def test_it_stops_while_it_is_still_starting(data_dir: Path):
    up = Up(data_dir)
    wait_for(lambda: children(up.process.pid), 20, what="the first part")
    processes = family(up.process.pid)
    up.process.send_signal(signal.SIGTERM)
    assert up.ended() == 0
    assert alive(processes) == []


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"OWNPOST_SMTP_PORTS": "many"}, "ownpost: OWNPOST_SMTP_PORTS:"),
        ({"REDIS_URL": "redis://127.0.0.1:1/0"}, "ownpost: REDIS_URL: Redis does not answer there:"),
        ({"DATABASE_URL": "sqlite:////dev/null/no.sqlite3"}, "migrate ended with code 1 while starting"),
    ],
)
def test_it_says_what_is_wrong_and_starts_nothing(data_dir: Path, environ: dict[str, str], words: str):
    up = Up(data_dir, **environ)
    assert up.ended() == 1
    assert words in up.text
    assert "ready" not in up.text


def test_it_uses_the_servers_that_the_operator_names(data_dir: Path, redis_url: str):
    up = Up(data_dir, REDIS_URL=redis_url, OWNPOST_PLATFORM_SMTP_URL="smtp://127.0.0.1:9?security=none")
    try:
        up.wait_until_ready()
        assert set(up.parts()) == PARTS - {REDIS, MAILBOX}
        assert not (data_dir / "mailbox").exists()
    finally:
        up.end()


def test_it_adds_nothing_when_the_demo_runs_again(data_dir: Path):
    said = []
    for _ in range(2):
        up = Up(data_dir, "--demo")
        up.wait_until_ready()
        up.end()
        said.append([line.strip() for line in up.lines if "Sign in as" in line or "Password" in line])
    # Once each, where the eye is when all has started.
    assert said[0] == said[1]
    assert [line.split()[0] for line in said[0]] == ["Sign", "Password:"]
