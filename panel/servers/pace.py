"""Pace: lets letters go no faster than their server's limits allow, over all workers, whatever becomes of Redis."""

from __future__ import annotations

import datetime as dt
import random
import time
import uuid
from dataclasses import dataclass, replace
from typing import Final

import redis
import structlog
from sqlalchemy import or_, select, update

from panel import db
from panel.addresses import service as addresses
from panel.addresses.service import OutboundAddress
from panel.outbox import service as outbox
from panel.servers import windows
from panel.servers.counters import CHECK_BUSY, Check, Counter, Lost, Taken, most_at_once
from panel.servers.models import MailServer
from panel.servers.routing import Route
from panel.servers.windows import WINDOWS, Counts, Usage
from panel.smtp.limits import NO_LIMITS, Limits

log = structlog.get_logger(__name__)

_TURNS: Final = 4
_A_MOMENT: Final = 1.0  # seconds until somebody else has counted anew
_CLAIMED_BY_OTHERS: Final = (
    2.0,
    6.0,
)  # seconds to step back, by chance, when it is claims and not letters that fill a window


@dataclass(frozen=True, slots=True)
class Allowance:
    """How many letters may go now.

    `again_at`: when to ask for more, where a window is full now; None: at once.
    `made` names the counts that it was taken from.
    """

    granted: int
    again_at: dt.datetime | None = None
    made: str = ""


def pace_limits(route: Route) -> Limits:
    """The limits of a route's server; the platform server has none but its connections."""
    return route.limits


def take(route: Route, wanted: int) -> Allowance:
    """Reserves up to `wanted` letters in all of the server's windows, over all workers. In the account's scope.

    For letters that the caller has claimed: should the counts be lost, everybody's claims count as used, but for these.
    When a window is full the server's lanes rest until `again_at`. One round trip to Redis; without it, the database.
    A server that said “too fast” itself lets none go until its time is over, whatever our counts say.
    """
    if route.told_to_wait_until is not None and route.told_to_wait_until > db.now():
        return Allowance(0, route.told_to_wait_until)
    if wanted <= 0 or route.server_id is None or not route.limits.limited:
        return Allowance(max(0, wanted))
    try:
        allowance = _take_counted(route, wanted)
    except redis.RedisError as error:
        log.warning("Redis is away; letters are counted in the database", error=type(error).__name__)
        allowance = _take_by_database(route, wanted)
    if allowance.again_at is not None:
        _rest_until(route.server_id, allowance.again_at)
    return allowance


def count(route: Route) -> Allowance:
    """Counts one letter that goes whatever the limits say: a test, for which a person waits. In the account's scope."""
    if route.server_id is None or not route.limits.limited:
        return Allowance(1)
    try:
        return _take_counted(replace(route, limits=NO_LIMITS), 1)
    except redis.RedisError:
        return Allowance(1)  # the database, by which letters are counted now, knows of it


def give_back(route: Route, count: int, *, of: Allowance | None = None) -> None:
    """Gives back letters that were granted and not sent. In the account's scope.

    of: what they were granted by: if the counts were made anew since, these letters are not in them. Give back before
    the claims are released, while they are seen as claims.
    """
    if count <= 0 or route.server_id is None or not route.limits.limited:
        return
    try:
        if not _counter(route).give_back(count, of.made if of else ""):
            return
    except redis.RedisError:
        return  # counted as sent until they are compared with the database
    if db.session().scalar(select(MailServer.rests_until).where(MailServer.id == route.server_id)) is not None:
        _rest_until(route.server_id, None)


def resting() -> dict[uuid.UUID, dt.datetime]:
    """The lanes whose own server has used up its limits, by our counts or its own word, and until when; in an account's
    scope, its own.

    A lane is known by its outbound address; that of letters that name none, by the account. System letters, which wait
    for nobody, are a lane of their own.
    """
    counted, told = MailServer.rests_until, MailServer.told_to_wait_until
    query = (
        select(OutboundAddress.id, OutboundAddress.account_id, OutboundAddress.is_default, counted, told)
        .join(MailServer, MailServer.address_id == OutboundAddress.id)
        .where(or_(counted > db.clock(), told > db.clock()), MailServer.enabled, MailServer.state == "ready")
    )
    lanes: dict[uuid.UUID, dt.datetime] = {}
    for address_id, account_id, is_default, *ends in db.session().execute(query):
        until = max(end for end in ends if end is not None)
        lanes[address_id] = until
        if is_default:
            lanes[account_id] = until
    return lanes


def usage(route: Route) -> tuple[float, list[Usage]]:
    """The time, and how much of each of the server's limits is used. In the account's scope."""
    if route.server_id is None or not route.limits.limited:
        return time.time(), []
    now, counts = _look(route)
    return now, windows.usages(counts, route.limits, now)


def current_counts(route: Route) -> tuple[float, Counts]:
    """The time and the counts, for a forecast. In the account's scope."""
    return _look(route) if route.server_id is not None and route.limits.limited else (time.time(), {})


def _look(route: Route) -> tuple[float, Counts]:
    try:
        found = _counter(route).look()
    except redis.RedisError:
        found = None
    return found or (time.time(), _count(route))


def _take_counted(route: Route, wanted: int) -> Allowance:
    counter = _counter(route)
    if route.server_id in _by_database:
        # What this process let go meanwhile is in no count of Redis'.
        counter.forget()
        _by_database.discard(route.server_id)
    for _ in range(_TURNS):
        reply = counter.take(wanted, route.limits)
        match reply:
            case Taken():
                again_at = _time(reply.again_at) if reply.again_at else None
                return Allowance(reply.granted, again_at, reply.made)
            case Lost():
                turn = counter.may_count()
                if turn is None:
                    break
                try:
                    _count_anew(route, counter, wanted, turn)
                finally:
                    counter.counted(turn)
            case Check():
                _compare(route, counter, wanted, reply)
    return Allowance(0, _time(time.time() + _A_MOMENT))


def _count_anew(route: Route, counter: Counter, wanted: int, turn: str) -> None:
    """Makes counts from the database. Claims of others count as letters of this moment: some of them were granted."""
    claimed, counts = _claimed_by_others(route, wanted), _count(route)
    kept = counter.replace(_with(counts, claimed), after=turn, check_in=CHECK_BUSY if claimed else None)
    log.info("counted anew", server=str(route.server_id), claimed=claimed, kept=kept)


def _compare(route: Route, counter: Counter, wanted: int, check: Check) -> None:
    """Replaces counts by the database's, unless somebody has claims: they are compared a little later, then."""
    if _claimed_by_others(route, wanted) == 0:
        counter.replace(_count(route), after=check, check_in=None)


def _with(counts: Counts, more: int) -> Counts:
    now = time.time()
    made = {window.length: dict(counts[window.length]) for window in WINDOWS}
    if more:
        for window in WINDOWS:
            bucket = window.bucket(now)
            made[window.length][bucket] = made[window.length].get(bucket, 0) + more
    return made


def _take_by_database(route: Route, wanted: int) -> Allowance:
    assert route.server_id is not None
    _by_database.add(route.server_id)
    # Claims first: a letter that goes meanwhile is counted twice then, and not left out.
    claimed, now = _claimed_by_others(route, wanted), time.time()
    found = windows.usages(_count(route), route.limits, now)
    room = windows.room(found) or 0
    granted = max(0, min(wanted, room - claimed, most_at_once(route.limits)))
    if granted or wanted <= 0:
        return Allowance(granted)
    full = windows.binding(found)
    again = full.renews_at if full and full.renews_at else now + random.uniform(*_CLAIMED_BY_OTHERS)  # noqa: S311
    return Allowance(0, _time(again))


_by_database: set[uuid.UUID] = set()
"""Servers for which this process counted by the database since it last reached Redis."""


def _count(route: Route) -> Counts:
    assert route.server_id is not None
    now = db.now()
    counts = {
        window.length: outbox.sends(
            route.server_id, since=now - dt.timedelta(seconds=window.length + window.width), width=window.width
        )
        for window in WINDOWS
    }
    db.release()
    return counts


def _claimed_by_others(route: Route, own: int) -> int:
    assert route.address_id is not None
    address = addresses.find(route.address_id)
    found = outbox.in_flight(route.address_id, default=address is not None and address.is_default)
    db.release()
    return max(0, found - own)


def _rest_until(server_id: uuid.UUID, until: dt.datetime | None) -> None:
    with db.transaction() as session:
        session.execute(
            update(MailServer)
            .where(MailServer.id == server_id)
            .values(rests_until=until)
            .execution_options(synchronize_session=False)
        )


def _counter(route: Route) -> Counter:
    assert route.server_id is not None
    assert route.server_version is not None
    return Counter(server_id=route.server_id, version=route.server_version)


def _time(seconds: float) -> dt.datetime:
    return dt.datetime.fromtimestamp(seconds, dt.UTC)
