"""What the migration makes of files that wait."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import text

from panel import db
from panel.migrations import runner
from tests.support.postgres import fresh_database

ACCOUNT, CAMPAIGN, FILE = (f"{number:032x}" for number in (1, 2, 3))
NOW = "2026-01-02 03:04:05.000000"


@pytest.fixture
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'old.sqlite3'}"
    name = "old_files_" + os.environ.get("PYTEST_XDIST_WORKER", "main")
    return fresh_database(request.getfixturevalue("postgres_cluster").socket_directory, name)


@pytest.mark.parametrize("url", ["sqlite", "postgresql"], indirect=True)
def test_files_that_wait_in_the_form_of_before_are_thrown_away(url: str) -> None:
    db.connect(url)
    command.upgrade(runner.config(), "0012")
    with db.engine().begin() as connection:
        for statement in (
            "INSERT INTO accounts (id, name, time_zone, postal_address, made_at)"
            f" VALUES ('{ACCOUNT}', 'Old', 'UTC', '', '{NOW}')",
            "INSERT INTO campaigns (id, account_id, slug, name, company_name, referral_url, portal_url, made_at)"
            f" VALUES ('{CAMPAIGN}', '{ACCOUNT}', 'old', 'Old', 'Old', 'https://old.test', '', '{NOW}')",
            "INSERT INTO participant_imports (id, account_id, campaign_id, file_name, upload, found, repeated, bad,"
            " made_at, added, changed, kept)"
            f" VALUES ('{FILE}', '{ACCOUNT}', '{CAMPAIGN}', 'people.csv', '{{}}', 1, 0, 0, '{NOW}', 0, 0, 0)",
        ):
            connection.execute(text(statement))
    runner.upgrade()
    with db.engine().connect() as connection:
        assert connection.execute(text("SELECT overwrite FROM participant_imports")).all() == []
        assert connection.execute(text("SELECT count(*) FROM campaigns")).scalar() == 1
    db.engine().dispose()
