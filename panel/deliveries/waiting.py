"""What a delivery waits for that is due and does not go: a limit of its server."""

from __future__ import annotations

from collections.abc import Sequence

from panel import db
from panel.outbox.service import Delivery
from panel.servers import service as servers


def words_of(found: Sequence[Delivery]) -> dict[int, str]:
    """In words, by the delivery's id, for those of them that wait for that. In the account's scope."""
    now = db.now()
    due = [
        one
        for one in found
        # A system letter takes the platform server, and one that is claimed waits for nothing any more. Of those that
        # wait for another reason only the deferred have a time to wait for.
        if (one.state == "queued" or (one.state == "deferred" and one.next_attempt_at <= now))
        and one.lease_until is None
        and one.kind != "system"
    ]
    waits = servers.waits() if due else {}
    lanes = {one.id: one.address_id or one.account_id for one in due}
    return {delivery_id: waits[lane].words for delivery_id, lane in lanes.items() if lane in waits}
