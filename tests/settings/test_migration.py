"""What the migrations make of API keys and invitations that are there."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import select, text

from panel import db
from panel.accounts.service import SCOPES
from panel.migrations import runner
from panel.settings import keys
from panel.settings.models import Invitation
from tests.support.postgres import fresh_database

ACCOUNT, KEY = (f"{number:032x}" for number in (1, 2))
NOW, LATER = "2026-01-02 03:04:05.000000", "2026-01-03 03:04:05.000000"


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


@pytest.mark.parametrize("url", ["sqlite", "postgresql"], indirect=True)
def test_invitations_that_are_there_are_of_whoever_sent_the_last_letter(url: str) -> None:
    db.connect(url)
    command.upgrade(runner.config(), "0013")
    first, last = (f"{number:032x}" for number in (7, 8))
    user = "INSERT INTO users (id, account_id, email, name, password, fs_uniquifier, active, role, create_datetime,"
    user += " update_datetime)"
    sent = "INSERT INTO audit_log (id, account_id, at, user_id, actor_kind, actor, ip, action, subject, details)"
    with db.engine().begin() as connection:
        for statement in (
            "INSERT INTO accounts (id, name, time_zone, postal_address, made_at)"
            f" VALUES ('{ACCOUNT}', 'Old', 'UTC', '', '{NOW}')",
            "INSERT INTO invitations (id, account_id, email, role, token_hash, opens_account, sent_at)"
            f" VALUES ('{KEY}', '{ACCOUNT}', 'new@acme.test', 'owner', 'hash', false, '{NOW}')",
            *(
                f"{user} VALUES ('{one}', '{ACCOUNT}', '{one}@acme.test', '', '', '{one}', true, 'owner',"
                f" '{NOW}', '{NOW}')"
                for one in (first, last)
            ),
            *(
                f"{sent} VALUES ('{one}', '{ACCOUNT}', '{at}', '{one}', '', '', '', 'user.invited',"
                " 'new@acme.test', '{}')"
                for one, at in ((last, LATER), (first, NOW))
            ),
        ):
            connection.execute(text(statement))
    runner.upgrade()
    with db.system_scope("tests") as session:
        found = session.scalars(select(Invitation.invited_by)).all()
    assert found == [uuid.UUID(last)]
