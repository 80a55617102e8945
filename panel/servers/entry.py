"""A mail server's settings as a person entered them, and the memory of those that passed a test."""

from __future__ import annotations

import datetime as dt
import hashlib
import uuid
from dataclasses import dataclass, field

import redis
from flask import current_app

from panel import db, queue
from panel.addresses.service import OutboundAddress
from panel.config import Settings
from panel.crypto import Keyring
from panel.servers.models import MailServer

_REMEMBERED = 1800
"""Seconds after a passed test within which the tested settings may be saved without another one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """Settings as entered, the password filled in from what is stored where the form left it blank."""

    preset: str
    host: str
    port: int
    security: str
    auth: str
    username: str
    password: str = field(repr=False)
    ca_certificate: str = ""  # as `read_authorities` returns it
    limits: dict[str, int] = field(default_factory=dict, compare=False)  # as in `Limits`; none: the provider's


def of_server(server: MailServer, *, password: str) -> Entry:
    """What is stored, as a person would enter it."""
    return Entry(
        preset=server.preset,
        host=server.host,
        port=server.port,
        security=server.security,
        auth=server.auth,
        username=server.username,
        password=password,
        ca_certificate=server.ca_certificate or "",
    )


def fingerprint(address: OutboundAddress, entry: Entry, *, keyring: Keyring | None = None) -> str:
    """The keyed fingerprint of all that a test is about, From address and password included."""
    return (keyring or _keyring()).fingerprint(parts=_parts(address, entry), context=_context(address))


def matches(known: str | None, address: OutboundAddress, entry: Entry, *, keyring: Keyring | None = None) -> bool:
    """Whether a stored fingerprint is that of these settings."""
    keys, parts = keyring or _keyring(), _parts(address, entry)
    return known is not None and keys.matches(known, parts=parts, context=_context(address))


def remember_passed(address: OutboundAddress, entry: Entry) -> None:
    """Notes that these settings passed a test just now."""
    queue.connection().set(_key(address.account_id, fingerprint(address, entry)), db.now().isoformat(), ex=_REMEMBERED)


def passed_at(address: OutboundAddress, entry: Entry) -> dt.datetime | None:
    """When these settings passed a test, if they did so recently."""
    try:
        found = queue.connection().get(_key(address.account_id, fingerprint(address, entry)))
    except redis.RedisError:
        return None  # they are tested again, then
    return dt.datetime.fromisoformat(found.decode()) if isinstance(found, bytes) else None


def _key(account_id: uuid.UUID, print_: str) -> str:
    return f"ownpost:passed:{account_id}:{hashlib.sha256(print_.encode()).hexdigest()}"


def _parts(address: OutboundAddress, entry: Entry) -> list[str]:
    server = [entry.host, str(entry.port), entry.security, entry.auth]
    # Without a CA certificate it is what it was before there could be one, so that what was verified then still is.
    trusted = [entry.ca_certificate] if entry.ca_certificate else []
    return [*server, entry.username, entry.password, address.email, *trusted]


def _context(address: OutboundAddress) -> str:
    return f"mail_servers {address.account_id}"


def _keyring() -> Keyring:
    settings: Settings = current_app.extensions["ownpost"]
    return settings.keyring
