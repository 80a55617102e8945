"""What the database holds, looked at from outside of the program's own queries."""

from __future__ import annotations

import uuid

from sqlalchemy import func, select, text

from panel import db
from panel.db import Base


def tables_with(wanted: str) -> list[str]:
    """`table.column` of every column with this in one of its values, whatever its case."""
    found = []
    with db.engine().connect() as connection:
        for table in Base.metadata.sorted_tables:
            for row in connection.execute(select(table)).mappings():
                found += [f"{table.name}.{name}" for name, value in row.items() if wanted.lower() in str(value).lower()]
    return sorted(set(found))


def rows_of(account_id: uuid.UUID) -> dict[str, int]:
    """How many rows each table has of an account."""
    counted: dict[str, int] = {}
    with db.engine().connect() as connection:
        for table in Base.metadata.sorted_tables:
            column = table.c.id if table.name == "accounts" else table.c.get("account_id")
            if column is not None:
                wanted = select(func.count()).select_from(table).where(column == account_id)
                counted[table.name] = connection.scalar(wanted) or 0
    return counted


def somebody_waits() -> bool:
    """Whether one of PostgreSQL's sessions of this database waits for a lock that another holds."""
    with db.engine().connect() as connection:
        waiting = text(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        return bool(connection.scalar(waiting))
