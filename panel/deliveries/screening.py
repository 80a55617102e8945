"""What is looked at right before sending: the route, and whether the delivery may still go."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from sqlalchemy import func, select

from panel import db
from panel.accounts import service as accounts
from panel.outbox.service import Delivery
from panel.servers import service as servers
from panel.servers.service import Route
from panel.suppressions import service as suppressions

PLATFORM_LIMIT = "platform_limit"
SUSPENDED = "account_suspended"


@dataclass(frozen=True, slots=True)
class Aside:
    """A delivery that is not tried now: the state it takes, and why."""

    state: str
    reason: str


def route_for(delivery: Delivery) -> Route:
    """By which server it goes now. A system letter always takes the platform server."""
    if delivery.kind == "system":
        return servers.platform_route()
    route = servers.route_of(delivery.address_id)
    if route.paused and route.fallback:
        return servers.platform_route(route.address_id)
    return route


def set_aside(delivery: Delivery, route: Route) -> Aside | None:
    """Why it must not be tried now; None when it may."""
    if delivery.expires_at is not None and delivery.expires_at <= db.now():
        return Aside("expired", "too_late_to_be_of_use")
    if delivery.kind != "system":
        if suspended():
            return Aside("held", SUSPENDED)
        if route.paused:
            return Aside("held", route.paused_reason or "server_paused")
        if route.kind == "platform" and platform_limit_reached():
            return Aside("held", PLATFORM_LIMIT)
    if delivery.participant_id is not None:
        reason = suppressions.is_suppressed(delivery.to_address, delivery.campaign_id)
        if reason:
            return Aside("canceled", f"suppressed_{reason}")
    return None


def suspended() -> bool:
    """Whether an operator stopped this account's sending."""
    return accounts.current().suspended_at is not None


def platform_limit_reached() -> bool:
    """Whether the account has used up what it may send by the platform server within 24 hours."""
    limit = accounts.current().platform_daily_limit
    if limit is None:
        return False
    since = db.now() - dt.timedelta(days=1)
    used = db.session().scalar(
        select(func.count())
        .select_from(Delivery)
        .where(
            Delivery.kind != "system",
            Delivery.server_id.is_(None),
            Delivery.state.in_(("sending", "sent", "uncertain", "bounced")),
            Delivery.made_at > since,
        )
    )
    return (used or 0) >= limit
