"""Mail servers: storing, verifying, enabling, pausing."""

from __future__ import annotations

import datetime as dt
import uuid
from dataclasses import replace
from typing import Any

from flask import current_app
from sqlalchemy import select, update

from panel import db, queue
from panel.accounts import service as accounts
from panel.addresses import service as addresses
from panel.addresses.service import By
from panel.config import Settings
from panel.servers.entry import Entry, fingerprint, matches, of_server, passed_at, remember_passed
from panel.servers.forecast import Forecast, about, forecast, waiting_words
from panel.servers.models import MailServer
from panel.servers.pace import Allowance, count, give_back, pace_limits, resting, take, usage
from panel.servers.pauses import REASONS as PAUSE_REASONS
from panel.servers.pauses import (
    clear_failures,
    count_failure,
    end_pauses,
    failing_lanes,
    forget_in_errors,
    free_after_commit,
    link_to,
    pause,
    rest,
    resume,
    tell_owners,
)
from panel.servers.routing import (
    SEALED_COLUMN,
    Envelope,
    PasswordUnreadable,
    Route,
    cleartext_allowed,
    envelope_of,
    for_address,
    limits_of,
    lock,
    platform_route,
    route_of,
    routes,
    sends_still,
    smtp_settings,
    stored_password,
)
from panel.servers.signin import may_sign_in, sign_in_ended, signed_in
from panel.servers.slots import free_slot, keep_slots, take_slot
from panel.servers.tries import count_test_send
from panel.servers.troubles import Trouble, troubles
from panel.servers.waits import Keeps, Wait, keeps, waits
from panel.servers.windows import Usage
from panel.smtp.limits import Limits
from panel.smtp.settings import AuthMethod, Security, ServerSettings

__all__ = [
    "PAUSE_REASONS",
    "Allowance",
    "By",
    "Entry",
    "Envelope",
    "Forecast",
    "Keeps",
    "Limits",
    "MailServer",
    "PasswordUnreadable",
    "Route",
    "Trouble",
    "Usage",
    "Wait",
    "about",
    "clear_failures",
    "count",
    "count_failure",
    "count_test_send",
    "end_pauses",
    "envelope_of",
    "failing_lanes",
    "for_address",
    "forecast",
    "forget_in_errors",
    "free_slot",
    "give_back",
    "keep_slots",
    "keeps",
    "limits_of",
    "link_to",
    "lock",
    "may_sign_in",
    "pace_limits",
    "pause",
    "platform_route",
    "rest",
    "resting",
    "resume",
    "route_of",
    "routes",
    "sends_still",
    "sign_in_ended",
    "signed_in",
    "smtp_settings",
    "take",
    "take_slot",
    "tell_owners",
    "troubles",
    "usage",
    "waiting_words",
    "waits",
]


class PasswordNeeded(ValueError):
    """The password must be typed; the text says why."""


class NotTested(Exception):
    """These settings have passed no test, so they cannot be turned on."""


def with_stored_password(address_id: uuid.UUID, entry: Entry) -> Entry:
    """The entry with the stored password where none was typed. Raises PasswordNeeded.

    A password is stored for one server and one user name. If any of these changed, or who may vouch for the server, it
    must be typed again: else whoever may edit this form could have the stored one sent to a server of their own.
    """
    if entry.auth == AuthMethod.NONE or not entry.username:
        return replace(entry, password="")
    if entry.password:
        return entry
    server = for_address(address_id)
    if server is None or server.password_sealed is None:
        raise PasswordNeeded("Enter the password.")
    changed = [
        words
        for words, before, after in (
            ("server", server.host, entry.host),
            ("port", server.port, entry.port),
            ("security", server.security, entry.security),
            ("username", server.username, entry.username),
            ("CA certificate", server.ca_certificate or "", entry.ca_certificate),
        )
        if before != after
    ]
    if changed:
        raise PasswordNeeded(f"Enter the password again, because the {' and the '.join(changed)} changed.")
    try:
        return replace(entry, password=stored_password(server))
    except PasswordUnreadable:
        raise PasswordNeeded("The stored password can no longer be read. Enter it again.") from None


def session_settings(entry: Entry) -> ServerSettings:
    """An entry as the SMTP engine takes it."""
    settings: Settings = current_app.extensions["ownpost"]
    return ServerSettings(
        host=entry.host,
        port=entry.port,
        security=Security(entry.security),
        auth=AuthMethod(entry.auth),
        username=entry.username,
        password=entry.password,
        cleartext_auth_allowed=cleartext_allowed(entry.host, entry.port, settings.smtp_policy),
        ca_certificate=entry.ca_certificate,
    )


def is_tested(address_id: uuid.UUID, entry: Entry) -> bool:
    """Whether exactly these settings, with this From address, passed a test."""
    return _tested_at(addresses.get(address_id), for_address(address_id), entry) is not None


def save(address_id: uuid.UUID, entry: Entry, by: By) -> MailServer:
    """Stores the settings and turns them on. Raises NotTested."""
    address = addresses.get(address_id)
    server = for_address(address_id)
    tested_at = _tested_at(address, server, entry)
    if tested_at is None:
        raise NotTested
    with db.transaction():
        changed = _changed(server, entry)
        server = _store(address, server, entry)
        server.fingerprint_verified = fingerprint(address, entry)
        server.verified_at = tested_at
        server.enabled = True
        _resume(server)
        _audit("server.saved", server, by, address=address.email, changed=changed)
        addresses.confirm(address, way="its own server")
        queue.ring_delivery_after_commit()
    return server


def save_draft(address_id: uuid.UUID, entry: Entry, by: By) -> MailServer:
    """Stores the settings without using them."""
    address = addresses.get(address_id)
    server = for_address(address_id)
    tested_at = _tested_at(address, server, entry)
    with db.transaction():
        changed = _changed(server, entry)
        server = _store(address, server, entry)
        server.enabled = False
        server.fingerprint_verified = fingerprint(address, entry) if tested_at else None
        server.verified_at = tested_at
        _resume(server)
        _audit("server.drafted", server, by, address=address.email, changed=changed)
        queue.ring_delivery_after_commit()
    return server


def disable(address_id: uuid.UUID, by: By) -> None:
    """Turns the server off: the address's mail goes out by the platform server. Raises NotFound."""
    with db.transaction():
        server = _of(address_id)
        server.enabled = False
        server.version += 1
        _resume(server)
        _audit("server.disabled", server, by)
        queue.ring_delivery_after_commit()


def remove(address_id: uuid.UUID, by: By) -> None:
    """Deletes the server's settings and its password. Raises NotFound."""
    with db.transaction() as session:
        server = _of(address_id)
        _audit("server.removed", server, by)
        session.delete(server)
        queue.ring_delivery_after_commit()


def choose_fallback(address_id: uuid.UUID, *, fallback: bool, by: By) -> None:
    """Says whether mail goes out by the platform server while the own one fails. Raises NotFound."""
    with db.transaction():
        server = _of(address_id)
        server.fallback_to_platform = fallback
        _audit("server.fallback", server, by, fallback=fallback)
        queue.ring_delivery_after_commit()


def note_passed(address_id: uuid.UUID, entry: Entry) -> None:
    """Remembers that exactly these settings passed a test just now.

    If they are the stored ones, those count as verified from here on, and a paused server sends again.
    """
    address = addresses.get(address_id)
    remember_passed(address, entry)
    server = for_address(address_id)
    if server is None or _stored_entry(server) != replace(entry, preset=server.preset):
        return
    with db.transaction():
        server.fingerprint_verified = fingerprint(address, entry)
        server.verified_at = db.now()
        _resume(server)
        addresses.confirm(address, way="its own server")
        queue.ring_delivery_after_commit()


def unreadable_passwords() -> int:
    """How many stored passwords no key opens. In a system scope."""
    sealed = db.session().scalars(select(MailServer).where(MailServer.password_sealed.is_not(None)))
    return sum(1 for server in sealed if not _readable(server))


def _readable(server: MailServer) -> bool:
    try:
        stored_password(server)
    except PasswordUnreadable:
        return False
    return True


def _of(address_id: uuid.UUID) -> MailServer:
    server = for_address(addresses.get(address_id).id)
    if server is None:
        raise db.NotFound("no such MailServer")
    return server


def _store(address: addresses.OutboundAddress, server: MailServer | None, entry: Entry) -> MailServer:
    settings: Settings = current_app.extensions["ownpost"]
    if server is None:
        # The id is made here and not by the database: the password is sealed to it before the row is there.
        server = MailServer(id=uuid.uuid4(), account_id=address.account_id, address_id=address.id, version=0)
        db.session().add(server)
    server.preset, server.host, server.port = entry.preset, entry.host, entry.port
    server.security, server.auth, server.username = entry.security, entry.auth, entry.username
    server.limits, server.ca_certificate = dict(entry.limits), entry.ca_certificate or None
    server.password_sealed = None
    if entry.password:
        server.password_sealed = settings.keyring.seal(
            entry.password, column=SEALED_COLUMN, account_id=str(address.account_id), row_id=str(server.id)
        )
    server.version += 1
    return server


def _stored_entry(server: MailServer) -> Entry | None:
    try:
        password = stored_password(server)
    except PasswordUnreadable:
        return None
    return of_server(server, password=password)


def _tested_at(address: addresses.OutboundAddress, server: MailServer | None, entry: Entry) -> dt.datetime | None:
    if server is not None and matches(server.fingerprint_verified, address, entry):
        return server.verified_at
    return passed_at(address, entry)


def _resume(server: MailServer) -> None:
    """Ends whatever rest it has by now, which may be another than when the row was read."""
    session = db.session()
    session.flush()
    session.execute(
        update(MailServer)
        .where(MailServer.id == server.id)
        .values(
            state="ready",
            paused_reason=None,
            paused_until=None,
            last_error=None,
            owner_told_at=None,
            owner_told_reason=None,
            rests_until=None,
            told_to_wait_until=None,
            failures_in_a_row=0,
            auth_tries=0,
            auth_tried_at=None,
        )
    )
    free_after_commit()


def _audit(action: str, server: MailServer, by: By, **details: Any) -> None:
    label = f"{server.host}:{server.port}"
    accounts.audit(action, subject=label, user_id=by.user_id, ip=by.ip, **details)


def _changed(server: MailServer | None, entry: Entry) -> list[str]:
    """Which settings differ from the stored ones, by name; of the password only that it does."""
    names = ("preset", "host", "port", "security", "auth", "username", "limits")
    if server is None:
        return [*names[:-1], "password"]
    changed = [name for name in names if getattr(server, name) != getattr(entry, name)]
    stored = _stored_entry(server)
    return changed if stored is not None and stored.password == entry.password else [*changed, "password"]
