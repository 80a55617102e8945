"""How often mail servers are bothered by tests: each destination and user name, over all accounts.

A stranger's server is not to be hammered with sign-ins by way of this panel (OWNPOST_LIMIT_DESTINATIONS), and nobody's
login there is to be locked because its password was wrong again and again. The counts are in Redis, under names that
nobody can read: keyed fingerprints of host, port and user name, and of the password.
"""

from __future__ import annotations

import uuid
from contextlib import suppress
from typing import Final

from flask import current_app

from panel import rates
from panel.config import Settings
from panel.servers.entry import Entry
from panel.servers.routing import PasswordUnreadable, Route, for_address, route_of, stored_password

_REFUSALS: Final = "5/hour"


def count_test(entry: Entry) -> int | None:
    """Counts a connection test with these settings. None when it may begin, else the seconds after which to come back.

    A password that was refused too often is not tried again for now; another one may be, at once.
    """
    return _count(entry.host, entry.port, entry.username, entry.password)


def count_test_send(address_id: uuid.UUID | None) -> int | None:
    """Counts a test send from an outbound address in the same way. The platform's server is the operator's affair."""
    route = route_of(address_id)
    server = for_address(route.address_id) if route.kind == "own" and route.address_id else None
    if server is None:
        return None
    try:
        password = stored_password(server)
    except PasswordUnreadable:
        return None  # nothing is sent with it
    return _count(server.host, server.port, server.username, password)


def must_rest(entry: Entry) -> bool:
    """Whether the password of these settings was refused too often: asked again before it is used, as several tests
    may have begun before the first of them ended."""
    return _rests(entry.host, entry.port, entry.username, entry.password) is not None


def _rests(host: str, port: int, username: str, password: str) -> int | None:
    return rates.spent(_REFUSALS, "refused", _login(host, port, username, password)) if username else None


def _count(host: str, port: int, username: str, password: str) -> int | None:
    if wait := _rests(host, port, username, password):
        return wait
    return rates.hit(_settings().limit_destinations, "destination", _name(host, port, username))


def note_refused(entry: Entry) -> None:
    """Notes that a server has refused the password of these settings."""
    _note(entry.host, entry.port, entry.username, entry.password)


def note_refused_by(route: Route) -> None:
    """The same of a route's stored password, unless it has been changed since. In the account's scope."""
    server = for_address(route.address_id) if route.address_id else None
    if server is None or (server.id, server.version) != (route.server_id, route.server_version):
        return
    with suppress(PasswordUnreadable):
        _note(server.host, server.port, server.username, stored_password(server))


def _note(host: str, port: int, username: str, password: str) -> None:
    rates.hit(_REFUSALS, "refused", _login(host, port, username, password))


def _name(host: str, port: int, username: str) -> str:
    return _hidden([host.lower().rstrip("."), str(port), username], "tests of a destination")


def _login(host: str, port: int, username: str, password: str) -> str:
    return _hidden([host.lower().rstrip("."), str(port), username, password], "refused sign-ins")


def _hidden(parts: list[str], context: str) -> str:
    return _settings().keyring.fingerprint(parts=parts, context=context)


def _settings() -> Settings:
    settings: Settings = current_app.extensions["ownpost"]
    return settings
