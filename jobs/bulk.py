"""What a person does to many deliveries at once, part by part."""

from __future__ import annotations

import uuid

from panel import db
from panel.deliveries import service as deliveries


def run(account_id: str, action_id: str) -> None:
    """Does what is left of one action, in its account's scope. Doubled, the two take turns."""
    with db.account_scope(uuid.UUID(account_id)):
        deliveries.do_all_of(uuid.UUID(action_id))
