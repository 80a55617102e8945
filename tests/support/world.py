"""The app with its database and Redis, and two accounts of people: what most feature tests begin with.

A test that takes `world` runs twice: on SQLite and on PostgreSQL.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import jinja2
import jinja2.bccache
import pytest
import redis
from argon2 import PasswordHasher
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import text
from sqlalchemy.orm import Session
from werkzeug.test import TestResponse

from panel import create_app, db
from panel.accounts import service as accounts
from panel.blasts import service as blasts
from panel.config import Settings
from panel.crypto import new_key
from panel.deliveries import service as deliveries
from panel.migrations import runner

PASSWORD = "correct horse battery"
KEYS = new_key()


# The tests sign in hundreds of times.
CHEAP = {"time_cost": 1, "memory_cost": 1024, "parallelism": 1}


@cache
def _password_hash() -> str:
    return PasswordHasher(**CHEAP).hash(PASSWORD)


class _Templates(jinja2.BytecodeCache):
    """Compiled templates, shared by all apps of this process."""

    compiled: ClassVar[dict[str, bytes]] = {}

    def load_bytecode(self, bucket: jinja2.bccache.Bucket) -> None:
        if bucket.key in self.compiled:
            bucket.bytecode_from_string(self.compiled[bucket.key])

    def dump_bytecode(self, bucket: jinja2.bccache.Bucket) -> None:
        self.compiled[bucket.key] = bucket.bytecode_to_string()


def _quick(app: Flask) -> Flask:
    app.jinja_env.bytecode_cache = _Templates()
    # Without this a sign-in would hash the password anew, at the full cost.
    app.extensions["security"].pwd_context.update(**{f"argon2__{name}": value for name, value in CHEAP.items()})
    return app


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database file with every table, to be copied."""
    path = tmp_path_factory.mktemp("sqlite") / "migrated.sqlite3"
    db.connect(f"sqlite:///{path}")
    runner.upgrade()
    with db.engine().connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    db.engine().dispose()
    return path


@pytest.fixture(scope="session")
def migrated_postgres(postgres_url: str) -> str:
    """A PostgreSQL database with every table."""
    db.connect(postgres_url)
    runner.upgrade()
    db.engine().dispose()
    return postgres_url


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database with every table."""
    if request.param == "sqlite":
        shutil.copy(request.getfixturevalue("migrated_sqlite"), tmp_path / "ownpost.sqlite3")
        return f"sqlite:///{tmp_path / 'ownpost.sqlite3'}"
    url: str = request.getfixturevalue("migrated_postgres")
    db.connect(url)
    with db.engine().begin() as connection:
        connection.execute(text("TRUNCATE accounts, installation CASCADE"))
    db.engine().dispose()
    return url


class World:
    """The running app. `owner` and `member` are of the account *Acme*, `stranger` owns *Other*."""

    def __init__(self, environ: dict[str, str]) -> None:
        self.environ = environ
        self.settings = Settings.from_env(environ)
        self.app = _quick(create_app(self.settings))
        with db.system_scope("tests"):
            self.acme = accounts.ensure("Acme")
            self.other = accounts.ensure("Other")
            hashed = _password_hash()
            self.owner = accounts.add_user(account_id=self.acme.id, email="owner@acme.test", password_hash=hashed)
            self.member = accounts.add_user(
                account_id=self.acme.id, email="member@acme.test", password_hash=hashed, role="member"
            )
            self.stranger = accounts.add_user(account_id=self.other.id, email="owner@other.test", password_hash=hashed)

    def reconfigure(self, **environ: str) -> None:
        """Makes the app again with other settings on the same database."""
        self.close()
        self.environ = {**self.environ, **environ}
        self.settings = Settings.from_env(self.environ)
        self.app = _quick(create_app(self.settings))

    @contextmanager
    def acme_scope(self) -> Iterator[Session]:
        """The account scope of *Acme*, within the app."""
        with self.app.app_context(), db.account_scope(self.acme.id) as session:
            yield session

    def client(self, user: Any = None) -> Browser:
        """A browser without JavaScript, signed in as `user` if one is given."""
        browser = Browser(self.app.test_client())
        if user is not None:
            answer = browser.submit("/login", email=user.email, password=PASSWORD)
            assert answer.status_code == 302, answer.get_data(as_text=True)
        return browser

    def work(self, queue: str) -> None:
        """Does everything that waits in the queue, as a worker would, in this process."""
        from jobs.worker import OwnpostWorker

        with self.app.app_context():
            OwnpostWorker(queue).work(burst=True, logging_level="ERROR")

    def tick(self) -> None:
        """One round of the ticker."""
        with self.app.app_context():
            blasts.tick()
            deliveries.tick(self.settings)

    def close(self) -> None:
        with self.app.app_context():
            deliveries.close()
        db.engine().dispose()


# With a sign-in and a new password the token is another.
_NEW_TOKEN = ("/login", "/login/second", "/settings/security/password")


class Browser:
    """A test client that fills in the CSRF token of the page it last saw, as a person's browser would."""

    def __init__(self, client: FlaskClient) -> None:
        self.client = client
        self._token: str | None = None

    def get(self, path: str, **options: Any) -> TestResponse:
        answer = self.client.get(path, **options)
        self._remember(answer)
        return answer

    def post(self, path: str, data: dict[str, Any] | None = None, **options: Any) -> TestResponse:
        """Posts with the CSRF token of the page last seen."""
        for page in ("/help", "/login"):  # the one has a form for whoever is signed in, the other for whoever is not
            if self._token is None:
                self.get(page)
        answer = self.client.post(path, data={"csrf_token": self._token, **(data or {})}, **options)
        if path.partition("?")[0] in _NEW_TOKEN and answer.status_code in (302, 303):
            self._token = None
        self._remember(answer)
        return answer

    def submit(self, path: str, **fields: Any) -> TestResponse:
        """Opens the page and posts its form back to the same path."""
        self.get(path)
        return self.post(path, fields)

    def signed_in(self) -> bool:
        return self.client.get("/").status_code == 200

    def _remember(self, answer: TestResponse) -> None:
        if answer.mimetype == "text/html":
            found = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', answer.get_data(as_text=True))
            self._token = found[1] if found else self._token


@pytest.fixture
def world(database_url: str, redis_url: str, redis_client: redis.Redis, tmp_path: Path) -> Iterator[World]:
    """The app on an empty database and an empty Redis."""
    made = World(
        {
            "DATABASE_URL": database_url,
            "REDIS_URL": redis_url,
            "OWNPOST_DATA_DIR": str(tmp_path),
            "OWNPOST_SECRET_KEY": "a secret key for tests, and only for tests",
            "OWNPOST_ENCRYPTION_KEYS": KEYS,
            "OWNPOST_PUBLIC_URL": "http://127.0.0.1:8000",
            "OWNPOST_PLATFORM_SMTP_URL": "smtp://127.0.0.1:9?security=none",
            "OWNPOST_EHLO_NAME": "ownpost.test",
            "OWNPOST_TICKER_SECONDS": "0.5",
            "OWNPOST_SLICE_SECONDS": "100",  # in which a test's drain sends all that is due, however slow the machine
        }
    )
    yield made
    made.close()
