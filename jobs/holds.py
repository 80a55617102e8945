"""What an account holds, looked at as soon as a reason for it is gone, and not only at the ticker's next round."""

from __future__ import annotations

import uuid

from panel import db
from panel.deliveries import service as deliveries


def free(account_id: str) -> None:
    """Frees what nothing stands against any more, the oldest first. What is left the ticker frees."""
    with db.account_scope(uuid.UUID(account_id)):
        deliveries.free_held()
