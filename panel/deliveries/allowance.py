"""What an account may still send by the platform's server: a limit for any 24 hours, counted by when letters went."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Final

from panel import db
from panel.accounts import service as accounts
from panel.addresses import service as addresses
from panel.outbox import service as outbox
from panel.servers import service as servers
from panel.servers.service import Route

_DAY: Final = 86_400


def lane_route(address_id: uuid.UUID | None) -> Route:
    """By which server the letters of an outbound address go now: its own, or what its owner chose for when it fails."""
    route = servers.route_of(address_id)
    if route.paused and route.fallback:
        return servers.platform_route(route.address_id)
    return route


def left(*, own: int = 0) -> int | None:
    """How many letters more the account may send by the platform server now; None: any number. In its scope.

    own: letters that the caller has claimed, to see how many of them may go. What anybody else has claimed takes its
    room, whether it will go or not: so of two workers that look at once never both get the same room, and what was
    held though there was some is freed a moment later.
    """
    limit = accounts.current().platform_daily_limit
    if limit is None:
        return None
    # Claims first: a letter that goes meanwhile is counted twice then, and not left out.
    claimed = outbox.claimed(but_for=_lanes_of_own_servers())
    db.release()
    went = sum(outbox.sends(None, since=db.now() - dt.timedelta(days=1), width=_DAY).values())
    return max(0, limit - went - max(0, claimed - own))


def _lanes_of_own_servers() -> set[uuid.UUID]:
    """A lane is known by its outbound address; that of letters that name none, by the account."""
    lanes: dict[uuid.UUID, uuid.UUID | None] = {address.id: address.id for address in addresses.all_addresses()}
    lanes[db.account_id()] = None
    return {lane for lane, address_id in lanes.items() if lane_route(address_id).server_id is not None}
