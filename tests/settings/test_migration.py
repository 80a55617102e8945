"""What the migration makes of API keys that are there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import text

from panel import db
from panel.accounts.service import SCOPES
from panel.migrations import runner
from panel.settings import keys
from tests.support.postgres import fresh_database

ACCOUNT, KEY = (f"{number:032x}" for number in (1, 2))
NOW = "2026-01-02 03:04:05.000000"


@pytest.fixture
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'old.sqlite3'}"
    name = "old_keys_" + os.environ.get("PYTEST_XDIST_WORKER", "main")
    return fresh_database(request.getfixturevalue("postgres_cluster").socket_directory, name)


@pytest.mark.parametrize("url", ["sqlite", "postgresql"], indirect=True)
def test_keys_that_are_there_may_go_on_doing_all(url: str) -> None:
    db.connect(url)
    command.upgrade(runner.config(), "0007")
    with db.engine().begin() as connection:
        connection.execute(
            text(
                "INSERT INTO accounts (id, name, time_zone, postal_address, made_at)"
                f" VALUES ('{ACCOUNT}', 'Old', 'UTC', '', '{NOW}')"
            )
        )
        connection.execute(
            text(
                "INSERT INTO api_keys (id, account_id, label, prefix, hash, made_at)"
                f" VALUES ('{KEY}', '{ACCOUNT}', 'shop', 'op_abcdef', 'hash', '{NOW}')"
            )
        )
    runner.upgrade()
    with db.system_scope("tests"):
        assert [tuple(key.scopes) for key in keys.all_keys()] == [SCOPES]
    db.engine().dispose()
