"""A test send, asked for by a notification's page."""

from __future__ import annotations

import uuid

from panel import db
from panel.testsend import service as testsend


def run(account_id: str, delivery_id: int) -> None:
    """Sends one test, in its account's scope."""
    with db.account_scope(uuid.UUID(account_id)):
        testsend.run(delivery_id)
