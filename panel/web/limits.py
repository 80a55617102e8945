"""How often an account, a program or a stranger may do what costs others something."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import uuid
from collections.abc import Callable
from typing import Final

from flask import Response, abort, current_app, request
from werkzeug.exceptions import TooManyRequests
from wtforms import Field

from panel import db
from panel.config import Settings
from panel.message.addresses import normalise
from panel.rates import hit as _hit

SUSPENDED: Final = (
    "Sending is stopped for this account, so nothing is mailed or tested. Ask the person who runs this Ownpost."
)
_SIGN_UPS: Final = "10/hour;30/day"
# What one inbox gets over all accounts. Each is counted by itself: whoever signs up with the address of somebody else
# must not keep away the invitation that they wait for.
_LETTERS_TO: Final = {"sign-up": "3/day", "invitation": "5/day", "address": "5/day"}
_INVITATIONS: Final = "10/minute;30/day"
_FILES: Final = "10/minute;100/hour"
_LOOKS: Final = "30/minute;300/hour"


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


def hit_files(account_id: uuid.UUID) -> int | None:
    """Counts one file that is uploaded to be read: a large one takes a second or two of everybody's."""
    return _hit(_FILES, "files", str(account_id))


def hit_looks(account_id: uuid.UUID) -> int | None:
    """Counts one look into a file that was uploaded, or its import: each takes up to some seconds of everybody's."""
    return _hit(_LOOKS, "looks", str(account_id))


def hit_sign_up() -> int | None:
    """Counts one sign-up from where the request at hand comes from."""
    return _hit(_SIGN_UPS, "sign-ups", _hidden(caller()))


def hit_letters_to(address: str, *, about: str) -> int | None:
    """Counts one letter to an address that somebody typed, over all accounts.

    `about`: "sign-up", "invitation" or "address" (one that is to be confirmed). Raises InvalidAddress.
    """
    name, _, domain = normalise(address).rpartition("@")
    # Most providers deliver what stands behind a plus to the inbox of what stands before it.
    inbox = f"{name.partition('+')[0]}@{domain}"
    return _hit(_LETTERS_TO[about], "letters", about, _hidden(inbox))


def require(hit: Callable[[uuid.UUID], int | None], words: str) -> None:
    """Counts something of the account of the scope by one of these; ends the request with a 429 when it is too much.

    `words` say what was too much, with {wait} where it belongs how long to wait.
    """
    wait = hit(db.account_id())
    if wait is not None:
        raise TooManyRequests(words.format(wait=in_words(wait)), retry_after=wait)


def require_mail(hit: Callable[[uuid.UUID], int | None], words: str, *, to: str, about: str, suspended: bool) -> None:
    """As `require`, before somebody is mailed who may never have asked for it: see `hit_letters_to`; a 403 for a
    suspended account."""
    if suspended:
        abort(403, SUSPENDED)
    require(hit, words)
    wait = hit_letters_to(to, about=about)
    if wait is not None:
        raise TooManyRequests(enough_to(to, wait), retry_after=wait)


def at_field(field: Field, refused: TooManyRequests, page: Callable[[], str]) -> Response:
    """What one of these refused, told at a field; `page` shows the form again, with what was typed."""
    field.errors = [refused.description]
    return Response(page(), 429, {"Retry-After": str(refused.retry_after)})


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


def enough_to(address: str, seconds: int) -> str:
    """What is said when `hit_letters_to` refuses: not which accounts have mailed the address, nor how often."""
    return f"{address} has been mailed often enough for now. Try again in {in_words(seconds)}."


def in_words(seconds: int) -> str:
    """How long to wait, rounded up: for people, who do not count in thousands of seconds."""
    size, unit = next((size, unit) for size, unit in ((3600, "hour"), (60, "minute"), (0, "second")) if seconds > size)
    count = -(-seconds // max(1, size))
    return f"{count} {unit}{'' if count == 1 else 's'}"
