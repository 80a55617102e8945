"""What the ticker does every few seconds: rings for what is due, and settles what a lost worker or time left behind."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from typing import Final

import structlog
from sqlalchemy import ColumnElement, CursorResult, exists, or_, select, true, update

from panel import db, queue
from panel.accounts.service import Account
from panel.addresses import service as addresses
from panel.config import Settings
from panel.deliveries import allowance, claims, holds, lastday, screening
from panel.outbox import states
from panel.outbox.service import PLATFORM_LIMIT, Attempt, Delivery
from panel.servers import service as servers
from panel.servers.service import MailServer, Route

log = structlog.get_logger(__name__)

_LAPSED_AT_ONCE: Final = 5_000
_BUDGET: Final = 3.0  # seconds of one round that all accounts' holds may take; what is left is for the next round


def tick(settings: Settings) -> None:
    """One round. In no scope; opens its own."""
    end = time.monotonic() + _BUDGET
    with db.system_scope("the ticker settles lapsed leases"):
        lapsed = settle_lapsed()
        expired = expire_useless(end)
        waiting = _accounts_that_wait()
        db.release()
    for account_id in waiting:
        with db.account_scope(account_id):
            expired += look_after(settings.tuning.hold, end)
    if lapsed or expired:
        log.info("settled", lapsed=lapsed, expired=expired)
    with db.system_scope("the ticker looks for what is due"):
        due = bool(claims.lanes_due(busy=(), limit=1))
        db.release()
    if due:
        queue.ring_delivery()


def settle_lapsed() -> int:
    """A lapsed claim goes back to its queue; a lapsed `sending` becomes `uncertain`: its letter may have been taken."""
    # A row that somebody frozen keeps locked is left for later; it must not keep the others waiting.
    some = (
        select(Delivery.id)
        .where(Delivery.lease_until.is_not(None), Delivery.lease_until < db.clock())
        .limit(_LAPSED_AT_ONCE)
        .with_for_update(skip_locked=True)
    )
    with db.transaction() as session:
        lapsed = Delivery.id.in_(list(session.scalars(some)))
        sending = list(
            session.execute(
                update(Delivery)
                .where(lapsed, Delivery.state == "sending")
                .values(state="uncertain", reason="worker_lost", lease_owner=None, lease_until=None)
                .returning(Delivery.id, Delivery.fence)
                .execution_options(synchronize_session=False)
            )
        )
        waiting = list(
            session.execute(
                update(Delivery)
                .where(lapsed, Delivery.state.in_(states.DUE))
                .values(lease_owner=None, lease_until=None)
                .returning(Delivery.id, Delivery.fence)
                .execution_options(synchronize_session=False)
            )
        )
        for outcome, rows in (("uncertain", sending), ("lost", waiting)):
            for delivery_id, fence in rows:
                session.execute(
                    update(Attempt)
                    .where(Attempt.delivery_id == delivery_id, Attempt.fence == fence, Attempt.ended_at.is_(None))
                    .values(ended_at=db.now(), outcome=outcome)
                    .execution_options(synchronize_session=False)
                )
    return len(sending) + len(waiting)


def expire_useless(end: float) -> int:
    """Ends what would come too late to be of use, held or not. In a system scope."""
    late = (
        Delivery.state.in_((*states.DUE, "held")),
        Delivery.lease_until.is_(None),
        Delivery.expires_at < db.clock(),
    )
    some = select(Delivery.id).where(*late).limit(holds.PIECE).with_for_update(skip_locked=True)

    def piece() -> int:
        with db.transaction() as session:
            ids = list(session.scalars(some))
            if not ids:
                return 0
            result = session.execute(
                update(Delivery)
                .where(Delivery.id.in_(ids), Delivery.state.in_((*states.DUE, "held")))
                .values(state="expired", reason="too_late_to_be_of_use", held_at=None)
                .execution_options(synchronize_session=False)
            )
        assert isinstance(result, CursorResult)
        return result.rowcount

    return _in_pieces(piece, end)


def _accounts_that_wait() -> list[uuid.UUID]:
    """Accounts with something held or to be held. In a system scope."""
    of_account = Delivery.account_id == Account.id
    paused = exists().where(MailServer.account_id == Account.id, MailServer.state == "paused")
    held = exists().where(of_account, Delivery.state == "held")
    stopped = or_(Account.suspended_at.is_not(None), Account.deletion_at.is_not(None))
    return list(db.session().scalars(select(Account.id).where(or_(stopped, paused, held))))


def look_after(longest_hold: float, end: float) -> int:
    """Sees to what this account holds, and has to hold; says how many letters expired. In the account's scope."""
    servers.end_pauses()
    expired = _in_pieces(lambda: holds.expire(longest_hold, limit=holds.PIECE), end)
    resume(end=end)
    lastday.tell(longest_hold)
    return expired


def resume(*, end: float | None = None) -> int:
    """Frees this account's held deliveries whose reason is gone, oldest first, and holds what has one; says how many
    were freed. In the account's scope. end: when to leave the rest for later, by `time.monotonic`."""
    end = end if end is not None else time.monotonic() + _BUDGET
    if screening.suspended():
        _keep(true(), screening.SUSPENDED, end)
        return 0
    routes: dict[uuid.UUID | None, Route] = {}
    lanes: dict[uuid.UUID | None, list[uuid.UUID | None]] = {}
    for lane in (None, *(address.id for address in addresses.all_addresses())):
        route = servers.route_of(lane)
        routes[route.server_id] = route
        lanes.setdefault(route.server_id, []).append(lane)
    return sum(_settle(route, lanes[server_id], end) for server_id, route in routes.items())


def _settle(route: Route, lanes: list[uuid.UUID | None], end: float) -> int:
    which = holds.of_lanes(lanes)
    if route.paused and not route.fallback:
        _keep(which, route.paused_reason or "server_paused", end)
        return 0
    if route.failing and not route.paused:
        return int(holds.free_one_to_try(which))  # the others follow when it went well
    if route.kind == "own" and not route.paused:
        return _in_pieces(lambda: holds.free(which, limit=holds.PIECE), end)
    room = allowance.left()
    if room is None:
        return _in_pieces(lambda: holds.free(which, limit=holds.PIECE), end)
    freed = holds.free(which, limit=min(room, holds.PIECE)) if room > 0 else 0
    _in_pieces(lambda: holds.wait_for(which, reason=PLATFORM_LIMIT, limit=holds.PIECE), end)
    return freed


def _keep(which: ColumnElement[bool], reason: str, end: float) -> None:
    _in_pieces(lambda: holds.hold(which, reason=reason, limit=holds.PIECE), end)
    _in_pieces(lambda: holds.wait_for(which, reason=reason, limit=holds.PIECE), end)


def _in_pieces(piece: Callable[[], int], end: float) -> int:
    total = 0
    while True:
        done = piece()
        total += done
        if done < holds.PIECE or time.monotonic() > end:
            return total
        db.breathe()
