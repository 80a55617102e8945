"""What the ticker does every few seconds: rings for what is due, and settles what a lost worker or time left behind."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from typing import Final

import structlog
from sqlalchemy import ColumnElement, CursorResult, and_, bindparam, exists, func, or_, select, true, update

from panel import db, queue
from panel.accounts.service import Account
from panel.addresses.service import OutboundAddress
from panel.config import Settings
from panel.deliveries import allowance, claims, holds, lastday, screening
from panel.outbox import states
from panel.outbox.service import IS_HELD, PLATFORM_LIMIT, Attempt, Delivery
from panel.servers import service as servers
from panel.servers.service import MailServer, Route

log = structlog.get_logger(__name__)

_LAPSED_AT_ONCE: Final = 5_000
# The words of the partial index have to stand in the statement itself.
_WAITS: Final = Delivery.state.in_(bindparam("waits", (*states.DUE, "held"), expanding=True, literal_execute=True))
_BUDGET: Final = 3.0  # seconds of one round that all accounts' holds may take; what is left is for the next round


def tick(settings: Settings, *, thorough: bool = False) -> None:
    """One round. In no scope; opens its own.

    thorough: whether accounts are looked after too whose letters are known to wait for the end of a rest that goes on.
    """
    end = time.monotonic() + _BUDGET
    frozen = db.end_frozen(settings.tuning.lease)
    with db.system_scope("the ticker settles lapsed leases"):
        lapsed = settle_lapsed()
        expired = expire_useless(end)
        waiting = _accounts_that_wait(settings.tuning.hold, thorough=thorough)
        db.release()
    for account_id, ends_soon in waiting:
        with db.account_scope(account_id):
            if ends_soon:
                expired += _in_pieces(lambda: holds.expire(settings.tuning.hold, limit=holds.PIECE), end)
            servers.end_pauses()
            resume(end=end)
            if ends_soon:
                lastday.tell(settings.tuning.hold)
    if lapsed or expired or frozen:
        log.info("settled", lapsed=lapsed, expired=expired, frozen=frozen)
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
        .order_by(Delivery.lease_until)  # so no planner would rather read all letters there are
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
    late = _WAITS, Delivery.lease_until.is_(None), Delivery.expires_at < db.clock()
    first = select(Delivery.id).where(*late).order_by(Delivery.expires_at).limit(holds.PIECE)
    some = first.with_for_update(skip_locked=True)

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


def _accounts_that_wait(longest_hold: float, *, thorough: bool) -> list[tuple[uuid.UUID, bool]]:
    """Accounts with something held or to be held, and whether a hold of theirs ends soon. In a system scope.

    Unless it is to be thorough, without those for which nothing can be done: no rest of theirs is over, nothing is due,
    and what is held waits for a server that rests, and says so.
    """
    of_account = Delivery.account_id == Account.id
    paused = exists().where(MailServer.account_id == Account.id, MailServer.state == "paused")
    held = exists().where(of_account, IS_HELD)
    stopped = or_(Account.suspended_at.is_not(None), Account.deletion_at.is_not(None))
    ends_soon = exists().where(of_account, IS_HELD, lastday.is_soon(longest_hold))
    waits = or_(stopped, paused, held) if thorough else or_(stopped, *_something_to_do(), ends_soon)
    found = db.session().execute(select(Account.id, ends_soon).where(waits))
    return [(account_id, bool(soon)) for account_id, soon in found]


def _something_to_do() -> Iterator[ColumnElement[bool]]:
    """What of an account that waits is to be changed."""
    paused = MailServer.state == "paused"
    is_over = or_(MailServer.paused_until <= db.clock(), MailServer.paused_reason == "password_unreadable")
    yield exists().where(MailServer.account_id == Account.id, paused, is_over)
    rests = paused, MailServer.enabled, MailServer.fallback_to_platform.is_(False)
    of_server = MailServer.address_id == OutboundAddress.id
    # An expression of the server's row, for SQLite: with a plain column it reads the whole index of what is due, for
    # every address, before it looks whether the server rests.
    address, account = (
        func.coalesce(MailServer.address_id, OutboundAddress.id),
        func.coalesce(MailServer.account_id, OutboundAddress.account_id),
    )
    due = claims.is_due(address), and_(OutboundAddress.is_default, claims.is_due(account))
    yield exists().where(OutboundAddress.account_id == Account.id, of_server, *rests, or_(*due))
    # Few kinds, however many letters.
    kinds = select(Delivery.account_id, Delivery.address_id, Delivery.reason).where(IS_HELD, holds.BY_ITSELF)
    held = kinds.distinct().subquery()
    of_default = and_(OutboundAddress.is_default, held.c.address_id.is_(None))
    says_so = exists().where(
        OutboundAddress.account_id == held.c.account_id,
        or_(OutboundAddress.id == held.c.address_id, of_default),
        of_server,
        *rests,
        MailServer.paused_reason == held.c.reason,
    )
    yield exists().where(held.c.account_id == Account.id, ~says_so)


def resume(*, end: float | None = None) -> int:
    """Frees this account's held deliveries whose reason is gone, oldest first, and holds what has one; says how many
    were freed. In the account's scope. end: when to leave the rest for later, by `time.monotonic`."""
    end = end if end is not None else time.monotonic() + _BUDGET
    if screening.suspended():
        _keep(true(), screening.SUSPENDED, end)
        return 0
    routes = servers.routes()
    known = [lane for lane in routes if lane is not None]
    by_server: dict[uuid.UUID | None, list[uuid.UUID | None]] = {}
    for lane, route in routes.items():
        by_server.setdefault(route.server_id, []).append(lane)
    return sum(_settle(routes[lanes[0]], holds.of_known_lanes(lanes, known), end) for lanes in by_server.values())


def _settle(route: Route, which: ColumnElement[bool], end: float) -> int:
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
