"""The owner is told before letters that were held for long expire: a day before, and once for each server."""

from __future__ import annotations

import datetime as dt
import uuid
from dataclasses import dataclass

from sqlalchemy import ColumnElement, func, select

from panel import db
from panel.accounts import service as accounts
from panel.deliveries import holds
from panel.outbox import service as outbox
from panel.outbox.service import Delivery
from panel.servers import service as servers
from panel.servers.service import Route

_ACTION = "holds.warned"


@dataclass(slots=True)
class _Group:
    route: Route
    first: dt.datetime
    count: int


def is_soon(longest: float) -> ColumnElement[bool]:
    """Whether a held letter's hold, of `longest` seconds, ends within a day."""
    # Where holds are shorter than two days, half of one is left.
    return Delivery.held_at < db.clock(-(longest - min(86_400.0, longest / 2)))


def tell(longest: float) -> None:
    """Mails the owners of this account about what will have been held for `longest` seconds within a day."""
    found = db.session().execute(
        select(Delivery.address_id, func.min(Delivery.held_at), func.count())
        .where(outbox.IS_HELD, holds.ENDS, is_soon(longest))
        .group_by(Delivery.address_id)
    )
    groups: dict[uuid.UUID | None, _Group] = {}
    for address_id, first, count in found.all():
        assert first is not None
        route = servers.route_of(address_id)
        group = groups.setdefault(route.server_id, _Group(route, first, 0))
        group.first, group.count = min(group.first, first), group.count + count
    for server_id, group in groups.items():
        _tell_once(str(server_id or "platform"), group, longest)


def _tell_once(subject: str, group: _Group, longest: float) -> None:
    if accounts.noted(_ACTION, subject=subject, since=group.first):
        return
    with db.transaction():
        accounts.lock()
        if accounts.noted(_ACTION, subject=subject, since=group.first):
            return  # another ticker was quicker
        accounts.audit(_ACTION, subject=subject, count=group.count)
        _tell(group, ends=group.first + dt.timedelta(seconds=longest))


def _tell(group: _Group, *, ends: dt.datetime) -> None:
    route = group.route
    letters = "One letter has" if group.count == 1 else f"{group.count:,} letters have"
    when = _words(ends)
    text = (
        f"{letters} been waiting {_for_what(route)} since {_words(group.first)}.\n\n"
        f"If nothing changes, they expire from {when} on, the oldest first, and are not sent.\n\n"
    )
    if route.address_id is not None:
        text += f"See what is wrong and mend it here:\n{servers.link_to(route.address_id)}\n"
    servers.tell_owners(subject=f"Letters that wait expire on {when}", text=text)


def _for_what(route: Route) -> str:
    if not accounts.current().sends:
        return "for your account to be allowed to send again"
    if route.kind == "own":
        return f"for your mail server {route.label} to send for {route.from_address}"
    return "to go out by the platform's server"


def _words(at: dt.datetime) -> str:
    local = at.astimezone(accounts.zone())
    return f"{local:%A}, {local.day} {local:%B} {local:%Y, %H:%M} ({accounts.zone().key})"
