"""A server that was in trouble gets one letter to try at a time, over all workers and all its lanes."""

from __future__ import annotations

import uuid
from collections.abc import Collection

from panel import db
from panel.addresses import service as addresses
from panel.deliveries import claims
from panel.deliveries.claims import Claimed, LaneKey
from panel.outbox import service as outbox
from panel.servers import service as servers
from panel.servers.service import Route


def to_try(lanes: Collection[uuid.UUID]) -> dict[uuid.UUID, bool]:
    """Those of these lanes whose server was in trouble, and whether somebody is trying it. In a system scope."""
    failing = servers.failing_lanes()
    asked = {lane: failing[lane] for lane in lanes if lane in failing}
    if not asked:
        return {}
    tried = {failing[lane] for lane in outbox.lanes_in_flight() if lane in failing}
    return {lane: server_id in tried for lane, server_id in asked.items()}


def claim_one_to_try(key: LaneKey, route: Route, *, owner: str, lease: float) -> list[Claimed]:
    """Claims the lane's next letter, unless one that takes the same server is claimed already, by whomever. In the
    account's scope."""
    if route.server_id is None or route.address_id is None:
        return []
    default = addresses.default()
    with db.transaction():
        # Two who ask at once ask one after the other, and the second sees what the first has claimed.
        servers.lock(route.server_id)
        if outbox.in_flight(route.address_id, default=default is not None and default.id == route.address_id):
            return []
        return claims.claim(key, owner=owner, limit=1, lease=lease)
