"""The migration keeps what was there: on SQLite a table that letters point at is made anew."""

from __future__ import annotations

from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text

from panel import db
from panel.migrations import runner

ACCOUNT, CAMPAIGN, NOTIFICATION, VERSION = (f"{number:032x}" for number in range(1, 5))
NOW = "2026-01-02 03:04:05.000000"

ROWS = {
    "accounts": {"id": ACCOUNT, "name": "Old", "time_zone": "UTC", "postal_address": "", "made_at": NOW},
    "campaigns": {
        "id": CAMPAIGN, "account_id": ACCOUNT, "slug": "old", "name": "Old", "company_name": "Old",
        "referral_url": "https://old.test", "portal_url": "", "made_at": NOW,
    },
    "notifications": {
        "id": NOTIFICATION, "account_id": ACCOUNT, "campaign_id": CAMPAIGN, "kind": "welcome", "enabled": True,
    },
    "notification_versions": {
        "id": VERSION, "account_id": ACCOUNT, "notification_id": NOTIFICATION, "number": 1, "subject": "Hi",
        "preheader": "", "html_source": "<p>Hi</p>", "html": "<p>Hi</p>", "text": "Hi", "text_is_own": False,
        "tags_used": "[]", "made_at": NOW,
    },
    "deliveries": {
        "account_id": ACCOUNT, "kind": "notification", "campaign_id": CAMPAIGN, "notification_id": NOTIFICATION,
        "notification_version_id": VERSION, "to_address": "robin@friends.test", "values": "{}", "message_id": "<1@o>",
        "date": NOW, "made_at": NOW, "state": "sent", "priority": 5, "next_attempt_at": NOW, "attempts": 1, "fence": 1,
    },
}  # fmt: skip


@pytest.fixture
def old(tmp_path: Path) -> None:
    """A database as the migration before left it, with a letter in it."""
    db.connect(f"sqlite:///{tmp_path / 'old.sqlite3'}")
    command.upgrade(runner.config(), "0002")
    with db.engine().begin() as connection:
        for table, row in ROWS.items():
            names = ", ".join(f'"{name}"' for name in row)
            values = ", ".join(f":{name}" for name in row)
            connection.execute(text(f"INSERT INTO {table} ({names}) VALUES ({values})"), row)


def _versions() -> list[tuple[object, ...]]:
    with db.engine().connect() as connection:
        found = connection.execute(
            text(
                "SELECT v.subject, v.tags_used, d.to_address FROM notification_versions v"
                " JOIN deliveries d ON d.notification_version_id = v.id"
            )
        )
        return [tuple(row) for row in found]


def test_it_keeps_the_letters_and_their_versions(old: None) -> None:
    before = _versions()
    assert len(before) == 1
    runner.upgrade()
    assert _versions() == before
    with db.engine().connect() as connection:
        assert connection.exec_driver_sql("PRAGMA foreign_key_check").all() == []
        targets = {row[2] for row in connection.exec_driver_sql("PRAGMA foreign_key_list(deliveries)")}
    assert "notification_versions" in targets
    command.downgrade(runner.config(), "0002")
    assert _versions() == before
    db.engine().dispose()


# An index by an expression is compared on PostgreSQL only.
@pytest.mark.filterwarnings("ignore:.*expression-based index.*")
def test_it_makes_what_the_models_say(database_url: str) -> None:
    db.connect(database_url)
    with db.engine().connect() as connection:
        differences = compare_metadata(MigrationContext.configure(connection), db.Base.metadata)
    db.engine().dispose()
    assert differences == []
