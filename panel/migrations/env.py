"""Alembic's entry point: always run by `panel.migrations.runner`, over the process's own engine."""

from __future__ import annotations

from typing import Any, Literal

from alembic import context
from sqlalchemy import DateTime

import panel.models  # noqa: F401 - fills the metadata
from panel import db


def _render(kind: str, item: Any, _context: Any) -> str | Literal[False]:
    # Migrations say what the column is, without leaning on classes that may change later.
    if kind == "type" and isinstance(item, (db.UtcDateTime, DateTime)):
        return "sa.DateTime(timezone=True)"
    return False


with db.engine().connect() as connection:
    context.configure(
        connection=connection,
        target_metadata=db.Base.metadata,
        render_as_batch=False,
        render_item=_render,
        transactional_ddl=True,
    )
    with context.begin_transaction():
        context.run_migrations()
    connection.commit()
