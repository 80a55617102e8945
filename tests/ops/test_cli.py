"""The `ownpost` command, as an operator types it: real processes on a database and a Redis of their own."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import redis

from panel import db
from panel.accounts import service as accounts
from panel.addresses import service as addresses
from panel.cli import main
from panel.crypto import new_key
from panel.migrations import runner
from panel.outbox.models import Delivery
from panel.servers import service as servers
from tests.signin.kit import set_up_app
from tests.support.mailserver import MailServer
from tests.support.world import World

SECRET = "a secret key for tests, and only for tests"


class Shell:
    """Runs `ownpost` with an environment."""

    def __init__(self, environ: dict[str, str]) -> None:
        self.environ = environ

    def run(self, *arguments: str, typed: str = "", **environ: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "panel.cli", *arguments],
            env={"PATH": "/usr/bin:/bin", **self.environ, **environ},
            input=typed,
            capture_output=True,
            text=True,
            timeout=60,
        )


@pytest.fixture
def shell(world: World) -> Shell:
    """A shell on the world's database."""
    return Shell(world.environ)


@pytest.fixture
def platform() -> Iterator[MailServer]:
    """A platform server that answers."""
    with MailServer() as server:
        yield server


sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@sqlite
def test_it_adds_a_user_whose_password_is_the_first_line(world: World, shell: Shell):
    done = shell.run("user", "add", "New@Beans.test", "--account", "Beans", typed="a password of some length\nmore\n")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "new@beans.test may sign in to Beans as owner.\n"
    browser = world.client()
    assert (
        browser.submit("/login", email="new@beans.test", password="a password of some length").headers["Location"]
        == "/"
    )
    with db.system_scope("tests"):
        beans = accounts.find_by_name("Beans")
    assert beans is not None
    with db.account_scope(beans.id):
        assert accounts.confirmed_addresses() == ["new@beans.test"]


@sqlite
def test_it_refuses_a_short_password_and_a_taken_address(shell: Shell):
    short = shell.run("user", "add", "a@beans.test", "--account", "Beans", typed="short\n")
    assert (short.returncode, short.stderr) == (1, "Error: The password must have at least 10 characters.\n")
    taken = shell.run("user", "add", "owner@acme.test", "--account", "Beans", typed="a password of some length\n")
    assert (taken.returncode, taken.stderr) == (1, "Error: owner@acme.test has a login already\n")


@sqlite
def test_it_prints_a_new_api_key_alone_and_once(shell: Shell):
    done = shell.run("apikey", "add", "--account", "Acme", "--label", "shop")
    assert (done.returncode, done.stderr) == (0, "")
    key = done.stdout.removesuffix("\n")
    assert key.split() == [key]
    with db.system_scope("tests"):
        assert accounts.find_api_key(key) is not None
    reader = shell.run("apikey", "add", "--account", "Acme", "--scope", "deliveries:read").stdout.strip()
    with db.system_scope("tests"):
        granted = [accounts.find_api_key(each) for each in (key, reader)]
    assert [sorted(one.scopes) for one in granted if one] == [["deliveries:read", "events:write"], ["deliveries:read"]]
    unknown = shell.run("apikey", "add", "--account", "Nobody")
    assert (unknown.returncode, unknown.stdout) == (1, "")
    assert "There is no account 'Nobody'." in unknown.stderr


@sqlite
def test_it_suspends_resumes_and_limits_an_account(world: World, shell: Shell):
    assert shell.run("account", "suspend", "Acme").stdout == "Acme is suspended.\n"
    with world.acme_scope():
        assert accounts.current().suspended_at is not None
    assert shell.run("account", "resume", "Acme").returncode == 0
    done = shell.run("account", "limit", "Acme", "--platform-per-day", "5000")
    assert "5000 letters a day" in done.stdout
    with world.acme_scope():
        assert (accounts.current().suspended_at, accounts.current().platform_daily_limit) == (None, 5000)
    assert shell.run("account", "suspend", "Nobody").returncode == 1


def _commands(command: click.Command, path: str = "ownpost") -> Iterator[tuple[str, click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        for name, each in command.commands.items():
            yield from _commands(each, f"{path} {name}")


def test_every_command_and_option_says_what_it_is():
    silent = [path for path, command in _commands(main) if not command.get_short_help_str()]
    for path, command in _commands(main):
        options = [one for one in command.params if isinstance(one, click.Option)]
        silent += [f"{path} {one.opts[0]}" for one in options if not one.help]
    assert silent == []


def test_it_migrates_a_database_and_says_when_that_is_missing(tmp_path: Path, redis_url: str):
    shell = Shell(
        {
            "OWNPOST_DATA_DIR": str(tmp_path),
            "REDIS_URL": redis_url,
            "OWNPOST_SECRET_KEY": SECRET,
            "OWNPOST_ENCRYPTION_KEYS": new_key(),
            "OWNPOST_PLATFORM_SMTP_URL": "smtp://127.0.0.1:9?security=none",
        }
    )
    before = shell.run("apikey", "add", "--account", "Acme")
    assert before.returncode == 1
    assert "run `ownpost db upgrade` first" in before.stderr
    assert shell.run("db", "upgrade").returncode == 0
    db.connect(f"sqlite:///{tmp_path / 'ownpost.sqlite3'}")
    assert runner.is_current()
    db.engine().dispose()
    assert shell.run("db", "upgrade").returncode == 0


@sqlite
def test_it_names_the_variable_that_is_wrong(shell: Shell):
    done = shell.run("db", "upgrade", OWNPOST_SMTP_PORTS="smtp")
    assert done.returncode == 1
    assert done.stderr.startswith("Error: OWNPOST_SMTP_PORTS: ")
    assert len(done.stderr.splitlines()) == 1
    broken = shell.run("doctor", OWNPOST_PLATFORM_SMTP_URL="smtp://user:canary@")
    assert broken.returncode == 1
    assert "OWNPOST_PLATFORM_SMTP_URL" in broken.stdout + broken.stderr
    assert "canary" not in broken.stdout + broken.stderr


def test_the_doctor_finds_nothing_wrong(shell: Shell, platform: MailServer, redis_client: redis.Redis):
    redis_client.set("ownpost:ticker", str(time.time()))
    done = shell.run("doctor", OWNPOST_PLATFORM_SMTP_URL=platform_url(platform))
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["ok"] * 7, done.stdout
    assert [name for name in WHAT if not any(name in line for line in lines)] == []
    assert done.returncode == 0


WHAT = ("settings", "database", "redis", "keys", "platform server", "ticker")


def platform_url(server: MailServer) -> str:
    return f"smtp://127.0.0.1:{server.port}?security=none"


@sqlite
def test_the_doctor_names_all_that_is_wrong(world: World, tmp_path: Path):
    # A stored password whose key is gone, no ticker, nobody at the platform server's port.
    shell = Shell({**world.environ, "OWNPOST_ENCRYPTION_KEYS": new_key(), "OWNPOST_SECRET_KEY": SECRET})
    _store_password(world)
    done = shell.run("doctor")
    failed = failures(done.stdout)
    assert set(failed) == {"keys", "platform server", "ticker"}
    assert "OWNPOST_ENCRYPTION_KEYS" in failed["keys"]
    assert "connect_failed" in failed["platform server"]
    assert done.returncode == 1
    other = shell.run("doctor", DATABASE_URL=f"sqlite:///{tmp_path / 'empty.sqlite3'}", REDIS_URL="unix:///nowhere")
    failed = failures(other.stdout)
    assert {"database", "redis", "ticker"} <= set(failed)
    assert "ownpost db upgrade" in failed["database"]
    for text in (done.stdout, done.stderr, other.stdout, other.stderr):
        assert "canary" not in text
        assert SECRET not in text
        assert "Traceback" not in text


def failures(output: str) -> dict[str, str]:
    """What failed, by name."""
    failed = (line.removeprefix("FAIL").strip() for line in output.splitlines() if line.startswith("FAIL"))
    return {name: line for line in failed for name in WHAT if line.startswith(name)}


def _store_password(world: World) -> None:
    entry = servers.Entry(
        preset="other", host="smtp.example.com", port=587, security="starttls", auth="auto",
        username="hello", password="canary",
    )  # fmt: skip
    with world.acme_scope():
        address = addresses.add_confirmed(email="hello@acme.test", display_name="Acme")
        servers.save_draft(address.id, entry, servers.By())


@sqlite
def test_it_lets_somebody_in_who_has_lost_their_second_factor(world: World, shell: Shell):
    set_up_app(world.client(world.owner))
    done = shell.run("user", "forget-second-factor", "Owner@acme.test")
    assert (done.returncode, done.stderr) == (0, "")
    assert world.client(world.owner).signed_in()
    with world.acme_scope() as session:
        letters = [letter.values["text"] for letter in session.query(Delivery).order_by(Delivery.id)]
    assert "turned off by the person who runs this Ownpost" in letters[-1]
    assert shell.run("user", "forget-second-factor", "nobody@acme.test").returncode == 1


def test_it_signs_somebody_out_everywhere(world: World, shell: Shell):
    here, there, other = world.client(world.owner), world.client(world.owner), world.client(world.member)
    done = shell.run("user", "sign-out", "Owner@acme.test")
    assert (done.returncode, done.stdout) == (0, "owner@acme.test is signed out everywhere.\n")
    assert (here.signed_in(), there.signed_in(), other.signed_in()) == (False, False, True)
    with world.acme_scope() as session:
        [entry] = session.query(accounts.AuditEntry).filter_by(action="sign_in.all_ended")
    assert (entry.actor_kind, entry.subject) == ("operator", "owner@acme.test")
    assert shell.run("user", "sign-out", "nobody@acme.test").returncode == 1
