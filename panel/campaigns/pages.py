"""What the pages about notifications show beside the words themselves."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from flask import current_app

from panel.accounts import service as accounts
from panel.campaigns.kinds import NotificationKind
from panel.campaigns.service import Campaign, Listed, Notification, NotificationVersion
from panel.campaigns.service import versions as versions_of
from panel.config import Settings
from panel.servers import service as servers
from panel.servers.service import Route

_GROUPS: Final = {"referrer": "To the referrer", "friend": "To the friend", "owner": "To you"}


@dataclass(frozen=True, slots=True)
class Group:
    """The notifications of one kind of recipient."""

    title: str
    listed: list[Listed]


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


@dataclass(frozen=True, slots=True)
class VersionLine:
    """A version and who made it."""

    version: NotificationVersion
    author: str
    is_current: bool


def groups(listed: Iterable[Listed]) -> list[Group]:
    """The overview, by recipient."""
    found = list(listed)
    return [
        Group(title, [each for each in found if each.kind.recipient == recipient])
        for recipient, title in _GROUPS.items()
    ]


def recipient_words(kind: NotificationKind) -> str:
    """Who gets it, as a heading says it."""
    return _GROUPS[kind.recipient]


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


def version_lines(notification: Notification) -> list[VersionLine]:
    """The notification's versions, newest first, with who made each."""
    names = {user.id: user.name or user.email for user in accounts.users()}
    return [
        VersionLine(each, _author(each, names), each.id == notification.current_version_id)
        for each in versions_of(notification.id)
    ]


def _author(version: NotificationVersion, names: dict[uuid.UUID, str]) -> str:
    if version.made_by is None:
        return "Ownpost’s default words" if version.number == 1 else "Ownpost"
    return names.get(version.made_by, "somebody who has left")
