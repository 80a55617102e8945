"""Which server sends for an outbound address, and how its letters are addressed."""

from __future__ import annotations

import datetime as dt
import ipaddress
import uuid
from dataclasses import dataclass
from typing import Any

from flask import current_app
from sqlalchemy import ColumnElement, exists, select

from panel import db
from panel.accounts import service as accounts
from panel.addresses import service as addresses
from panel.config import Mailbox, Settings
from panel.crypto import SealBroken, UnknownKey
from panel.servers.models import MailServer
from panel.smtp.destination import DestinationPolicy
from panel.smtp.limits import Limits
from panel.smtp.presets import limits_for
from panel.smtp.settings import AuthMethod, Security, ServerSettings

SEALED_COLUMN = "mail_servers.password"
PLATFORM_LABEL = "platform server"
PLATFORM_LIMITS = Limits(connections=20)
"""The operator's own server takes what the operator lets it; each account has its daily limit besides."""


class PasswordUnreadable(Exception):
    """The stored password does not open: its encryption key is missing, or it is damaged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """The server that sends for an outbound address, at this moment.

    `from_address` is the outbound address, or None for system letters and where the account has none;
    `confirmed` is about that address. `server_id` and `server_version` are None for the platform server.
    """

    kind: str  # "own" or "platform"
    address_id: uuid.UUID | None
    from_name: str
    from_address: str | None
    server_id: uuid.UUID | None
    server_version: int | None
    label: str
    paused: bool
    paused_reason: str | None
    paused_until: dt.datetime | None
    fallback: bool
    confirmed: bool
    failing: bool = False  # the last attempts at this server went wrong
    limits: Limits = PLATFORM_LIMITS
    told_to_wait_until: dt.datetime | None = None  # it said “too fast”

    def sends_as(self, other: Route) -> bool:
        """Whether it is the same server, with the same settings."""
        return (self.kind, self.server_id, self.server_version) == (other.kind, other.server_id, other.server_version)


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """From (which is the envelope sender too) and Reply-To of a letter by a route."""

    from_name: str
    from_address: str
    reply_to: str | None


def route_of(address_id: uuid.UUID | None) -> Route:
    """The route of an outbound address; None stands for the account's default one, as does one that was removed.

    Without any address it is the platform server, with `from_address` None.
    """
    address = (addresses.find(address_id) if address_id else None) or addresses.default()
    if address is None:
        return _platform(from_name=accounts.current().name)
    return _route(address, for_address(address.id))


def routes() -> dict[uuid.UUID | None, Route]:
    """The routes of all of the account's outbound addresses, as `route_of` finds each; None: of letters that name none
    or one that was removed."""
    account = accounts.current()
    servers = {server.address_id: server for server in db.session().scalars(select(MailServer))}
    known = addresses.all_addresses()
    made: dict[uuid.UUID | None, Route] = {one.id: _route(one, servers.get(one.id)) for one in known}
    default = next((one for one in known if one.is_default), None)
    made[None] = made[default.id] if default else _platform(from_name=account.name)
    return made


def _route(address: addresses.OutboundAddress, server: MailServer | None) -> Route:
    from_name = address.display_name or accounts.current().name
    if server is None or not server.enabled:
        return _platform(from_name=from_name, address=address)
    return Route(
        kind="own",
        address_id=address.id,
        from_name=from_name,
        from_address=address.email,
        server_id=server.id,
        server_version=server.version,
        label=f"{server.host}:{server.port}",
        paused=server.state == "paused",
        paused_reason=server.paused_reason,
        paused_until=server.paused_until,
        fallback=server.fallback_to_platform,
        confirmed=address.confirmed_at is not None,
        failing=server.failures_in_a_row > 0,
        limits=limits_of(server),
        told_to_wait_until=server.told_to_wait_until,
    )


def platform_route(address_id: uuid.UUID | None = None) -> Route:
    """The platform server: for system letters, or for an address whose owner chose to fall back to it."""
    address = addresses.find(address_id) if address_id else None
    if address is None:
        return _platform(from_name="")
    return _platform(from_name=address.display_name or accounts.current().name, address=address)


def _platform(*, from_name: str, address: addresses.OutboundAddress | None = None) -> Route:
    return Route(
        kind="platform",
        address_id=address.id if address else None,
        from_name=from_name,
        from_address=address.email if address else None,
        server_id=None,
        server_version=None,
        label=PLATFORM_LABEL,
        paused=False,
        paused_reason=None,
        paused_until=None,
        fallback=False,
        confirmed=address is not None and address.confirmed_at is not None,
    )


def sends_still(server_id: ColumnElement[Any], version: ColumnElement[int]) -> ColumnElement[bool]:
    """As a condition: true while these settings of an own server are the ones that send."""
    return exists().where(
        MailServer.id == server_id,
        MailServer.version == version,
        MailServer.enabled,
        MailServer.state == "ready",
    )


def limits_of(server: MailServer) -> Limits:
    """What a server takes: its provider's limits, and in their place those that the owner entered."""
    limits = limits_for(preset=server.preset, host=server.host, username=server.username)
    return limits.changed(server.limits or {})


def for_address(address_id: uuid.UUID) -> MailServer | None:
    """The address's own mail server, in whatever state, if it has one."""
    return db.session().scalar(select(MailServer).where(MailServer.address_id == address_id))


def lock(server_id: uuid.UUID) -> None:
    """Lets nobody else who asks for it go on until the current transaction has ended."""
    mine = select(MailServer.id).where(MailServer.id == server_id)
    db.session().scalar(mine.with_for_update(key_share=True))


def smtp_settings(route: Route) -> tuple[ServerSettings, DestinationPolicy]:
    """What an SMTP session by this route needs, password included. Raises PasswordUnreadable; NotFound if removed."""
    settings: Settings = current_app.extensions["ownpost"]
    if route.server_id is None:
        return settings.platform_server, DestinationPolicy.unguarded()
    server = db.owned(MailServer, route.server_id)
    return session_settings(server, password=stored_password(server)), settings.smtp_policy


def session_settings(server: MailServer, *, password: str) -> ServerSettings:
    """A row's settings as the SMTP engine takes them."""
    settings: Settings = current_app.extensions["ownpost"]
    return ServerSettings(
        host=server.host,
        port=server.port,
        security=Security(server.security),
        auth=AuthMethod(server.auth),
        username=server.username,
        password=password,
        cleartext_auth_allowed=cleartext_allowed(server.host, server.port, settings.smtp_policy),
        ca_certificate=server.ca_certificate or "",
    )


def stored_password(server: MailServer) -> str:
    """The stored password, unsealed; empty when there is none. Raises PasswordUnreadable."""
    settings: Settings = current_app.extensions["ownpost"]
    if server.password_sealed is None:
        return ""
    try:
        return settings.keyring.unseal(
            server.password_sealed, column=SEALED_COLUMN, account_id=str(server.account_id), row_id=str(server.id)
        )
    except (UnknownKey, SealBroken) as error:
        raise PasswordUnreadable(str(error)) from error


def cleartext_allowed(host: str, port: int, policy: DestinationPolicy) -> bool:
    """Whether a password may go there unencrypted: only to an address that the operator named, in their own network.

    Any other name may lead elsewhere by the next look-up.
    """
    literals = ("127.0.0.1", "::1") if host == "localhost" else (host,)
    try:
        found = [ipaddress.ip_address(literal) for literal in literals]
    except ValueError:
        return False
    return any(port == allowed and address in network for network, allowed in policy.exceptions for address in found)


def envelope_of(route: Route, *, platform_from: Mailbox) -> Envelope:
    """How a letter by this route is addressed.

    By an own server it comes from the outbound address itself; by the platform server it comes from the platform's
    address in the account's name, and answers go to the outbound address.
    """
    if route.kind == "own" and route.from_address is not None:
        return Envelope(from_name=route.from_name, from_address=route.from_address, reply_to=None)
    name = f"{route.from_name} via {platform_from.name}" if route.from_name else platform_from.name
    return Envelope(from_name=name, from_address=platform_from.address, reply_to=route.from_address)
