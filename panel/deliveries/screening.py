"""What is looked at before sending: the route, and whether the delivery may still go."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from panel import db
from panel.accounts import service as accounts
from panel.deliveries import allowance
from panel.deliveries.allowance import lane_route
from panel.deliveries.claims import Claimed
from panel.outbox.service import PLATFORM_LIMIT, Delivery
from panel.servers import service as servers
from panel.servers.service import Route
from panel.suppressions import service as suppressions

SUSPENDED = "account_suspended"


@dataclass(frozen=True, slots=True)
class Aside:
    """A delivery that is not tried now: the state it takes, and why."""

    state: str
    reason: str


def route_for(delivery: Delivery) -> Route:
    """By which server a delivery goes now. A system letter always takes the platform server."""
    return servers.platform_route() if delivery.kind == "system" else lane_route(delivery.address_id)


class Screen:
    """Screens a batch of claimed deliveries of one lane with few queries. In the account's scope."""

    def __init__(self, address_id: uuid.UUID | None, claimed: Sequence[Claimed]) -> None:
        self._address_id = address_id
        self._suppressed = _suppressed(claimed)
        self._own = sum(one.kind != "system" for one in claimed)
        self._platform_left: int | None = None
        self._now = db.now()

    @cached_property
    def route(self) -> Route:
        """The lane's route."""
        return lane_route(self._address_id)

    @cached_property
    def _platform(self) -> Route:
        return servers.platform_route()

    @cached_property
    def _suspended(self) -> bool:
        return suspended()

    def route_of(self, one: Claimed) -> Route:
        """By which server it goes now."""
        return self._platform if one.kind == "system" else self.route

    def aside(self, one: Claimed, route: Route) -> Aside | None:
        """Why it must not be tried now; None when it may."""
        if one.expires_at is not None and one.expires_at <= self._now:
            return Aside("expired", "too_late_to_be_of_use")
        if one.kind != "system":
            if self._suspended:
                return Aside("held", SUSPENDED)
            if route.paused:
                return Aside("held", route.paused_reason or "server_paused")
        reason = self._suppressed.get((one.campaign_id, one.to_address)) if one.participant_id else None
        if reason:
            return Aside("canceled", f"suppressed_{reason}")
        if one.kind != "system" and route.kind == "platform" and not self._platform_has_room():
            return Aside("held", PLATFORM_LIMIT)
        return None

    def _platform_has_room(self) -> bool:
        if self._platform_left is None:
            left = allowance.left(own=self._own)
            self._platform_left = 1 << 30 if left is None else left
        self._platform_left -= 1
        return self._platform_left >= 0


def _suppressed(claimed: Sequence[Claimed]) -> dict[tuple[uuid.UUID | None, str], str]:
    by_campaign: dict[uuid.UUID | None, list[str]] = defaultdict(list)
    for one in claimed:
        if one.participant_id is not None:
            by_campaign[one.campaign_id].append(one.to_address)
    return {
        (campaign_id, address): reason
        for campaign_id, addresses in by_campaign.items()
        for address, reason in suppressions.suppressed_among(addresses, campaign_id).items()
    }


def suspended() -> bool:
    """Whether this account's sending is stopped: by an operator, or as an owner has closed the account."""
    return accounts.is_suspended()
