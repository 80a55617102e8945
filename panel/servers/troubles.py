"""What is wrong with the account's own servers, for a banner on every page."""

from __future__ import annotations

import datetime as dt
import uuid
from dataclasses import dataclass

from flask import current_app
from sqlalchemy import func, or_, select

from panel import db
from panel.addresses.service import OutboundAddress
from panel.config import Settings
from panel.outbox.service import BLAST_PAUSED, IS_HELD, PLATFORM_LIMIT, Delivery
from panel.servers.models import MailServer


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """A server that rests. `until`: when it is tried again by itself; `expires_at`: when its first letters expire,
    where that is soon; `stands_in`: the platform's server sends meanwhile."""

    address_id: uuid.UUID
    email: str
    host: str
    reason: str
    until: dt.datetime | None
    stands_in: bool
    expires_at: dt.datetime | None


def troubles() -> list[Trouble]:
    """The account's servers that rest, in the order of their addresses. In the account's scope.

    Costs one small query where nothing is wrong.
    """
    resting = (
        select(MailServer, OutboundAddress.email, OutboundAddress.is_default)
        .join(OutboundAddress, OutboundAddress.id == MailServer.address_id)
        .where(MailServer.state == "paused", MailServer.enabled)
        .order_by(OutboundAddress.email)
    )
    return [
        Trouble(
            address_id=server.address_id,
            email=email,
            host=server.host,
            reason=server.paused_reason or "server",
            until=server.paused_until,
            stands_in=server.fallback_to_platform,
            expires_at=None if server.fallback_to_platform else _expires_at(server, is_default=is_default),
        )
        for server, email, is_default in db.session().execute(resting)
    ]


def _expires_at(server: MailServer, *, is_default: bool) -> dt.datetime | None:
    """When the first held letters of a server expire, if that is within a day."""
    settings: Settings = current_app.extensions["ownpost"]
    longest = dt.timedelta(seconds=settings.tuning.hold)
    warned_from = db.now() - longest + min(dt.timedelta(days=1), longest / 2)
    of_server = Delivery.address_id == server.address_id
    first = db.session().scalar(
        select(func.min(Delivery.held_at)).where(
            IS_HELD,
            Delivery.held_at < warned_from,
            Delivery.reason.is_distinct_from(BLAST_PAUSED),
            Delivery.reason.is_distinct_from(PLATFORM_LIMIT),
            or_(of_server, Delivery.address_id.is_(None)) if is_default else of_server,
        )
    )
    return first + longest if first is not None else None
