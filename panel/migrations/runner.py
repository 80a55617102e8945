"""Runs the migrations."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from panel import db


def config() -> Config:
    """Alembic's configuration; there is no alembic.ini."""
    made = Config()
    made.set_main_option("script_location", str(Path(__file__).parent))
    return made


def upgrade() -> None:
    """Brings the database to the newest version; does nothing when it is there."""
    command.upgrade(config(), "head")


def is_current() -> bool:
    """Whether the database has every migration."""
    with db.engine().connect() as connection:
        have = MigrationContext.configure(connection).get_current_revision()
    return have == ScriptDirectory.from_config(config()).get_current_head()
