"""A connection test, asked for by a page."""

from __future__ import annotations

import uuid

from panel import db
from panel.servers import testing


def run(account_id: str, task: str) -> None:
    """Does one test, in its account's scope."""
    with db.account_scope(uuid.UUID(account_id)):
        testing.run(task)
