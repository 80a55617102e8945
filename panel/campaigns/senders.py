"""Who a campaign's letters come from, as an inbox shows it."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace

from flask import current_app

from panel.campaigns.models import Campaign
from panel.config import Settings
from panel.servers import service as servers
from panel.servers.service import Route


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """Who a letter comes from by one of the two ways, as an inbox shows it."""

    key: str  # "without" or "with" an own server
    title: str
    sender: str
    reply_to: str
    server: str
    in_force: bool


@dataclass(frozen=True, slots=True)
class Senders:
    """Both ways, and the outbound address that decides between them (None: the account has none)."""

    ways: list[Sender]
    address_id: uuid.UUID | None

    @property
    def in_force(self) -> Sender:
        """The way that letters take now."""
        return next(way for way in self.ways if way.in_force)


def senders(campaign: Campaign) -> Senders:
    """Who the campaign's letters come from without and with an own server; only the first while there is no address."""
    route = servers.route_of(campaign.address_id)
    by_own = route.kind == "own" and not (route.paused and route.fallback)
    ways = [_sender("without", "Without your own server", servers.platform_route(route.address_id), not by_own)]
    if route.from_address is not None:
        ways.append(_sender("with", "With your own server", replace(route, kind="own"), by_own))
    return Senders(ways=ways, address_id=route.address_id)


def _sender(key: str, title: str, route: Route, in_force: bool) -> Sender:
    settings: Settings = current_app.extensions["ownpost"]
    envelope = servers.envelope_of(route, platform_from=settings.platform_from)
    return Sender(
        key=key,
        title=title,
        sender=f"{envelope.from_name} <{envelope.from_address}>" if envelope.from_name else envelope.from_address,
        reply_to=envelope.reply_to or "",
        server=route.label if key == "without" or route.server_id else "",
        in_force=in_force,
    )
