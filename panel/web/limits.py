"""How often an account, a program or a stranger may do what costs others something."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import uuid
from typing import Final

from flask import current_app, request

from panel.config import Settings
from panel.rates import hit as _hit

_SIGN_UPS: Final = "10/hour;30/day"
_LETTERS_TO_A_STRANGER: Final = "3/day"
_INVITATIONS: Final = "10/minute;30/day"


def hit_tests(account_id: uuid.UUID) -> int | None:
    """Counts one connection test or test send of the account, by OWNPOST_LIMIT_TESTS.

    Returns None when it may go on, else the whole seconds after which to come back; so do all of these.
    """
    return _hit(_settings().limit_tests, "tests", str(account_id))


def hit_api(key_id: uuid.UUID) -> int | None:
    """Counts one call with an API key, by OWNPOST_LIMIT_API."""
    return _hit(_settings().limit_api, "api", str(key_id))


def hit_invitations(account_id: uuid.UUID) -> int | None:
    """Counts one letter that invites somebody to the account: they have not asked for it."""
    return _hit(_INVITATIONS, "invitations", str(account_id))


def hit_sign_up() -> int | None:
    """Counts one sign-up from where the request at hand comes from."""
    return _hit(_SIGN_UPS, "sign-ups", _hidden(caller()))


def hit_letters_to(address: str) -> int | None:
    """Counts one letter to an address that a stranger typed."""
    return _hit(_LETTERS_TO_A_STRANGER, "letters", _hidden(address))


def _settings() -> Settings:
    settings: Settings = current_app.extensions["ownpost"]
    return settings


def _hidden(name: str) -> str:
    """Stands for an address of a person or a machine, neither of which is to be read in Redis."""
    return hmac.new(_settings().secret_key.encode(), f"limit {name}".encode(), hashlib.sha256).hexdigest()


def caller() -> str:
    """Where the request comes from: an IPv4 address, or the /64 of an IPv6 one, all of which one customer has."""
    try:
        address = ipaddress.ip_address((request.remote_addr or "").partition("%")[0])
    except ValueError:
        return "unknown"
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, 64), strict=False).network_address)
    return str(address)


def in_words(seconds: int) -> str:
    """How long to wait, rounded up: for people, who do not count in thousands of seconds."""
    size, unit = next((size, unit) for size, unit in ((3600, "hour"), (60, "minute"), (0, "second")) if seconds > size)
    count = -(-seconds // max(1, size))
    return f"{count} {unit}{'' if count == 1 else 's'}"
