"""The record rule, at speed: before a letter's body flows, the database holds that it is `sending`, and how the letter
before it on this connection ended.

Each connection asks for one commit a letter. Whoever asks while a commit is under way waits for the next one, which
then serves all who wait: the busier the worker, the more letters share a transaction.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from operator import itemgetter
from typing import Any, Final

import structlog
from sqlalchemy import (
    JSON,
    BigInteger,
    ColumnElement,
    Executable,
    Integer,
    String,
    Update,
    Uuid,
    and_,
    insert,
    literal,
    null,
    or_,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError, OperationalError, SQLAlchemyError
from sqlalchemy.types import TypeEngine

from panel import db
from panel.batch import Batch, Columns, Row, Statement, Writer, stored_time
from panel.deliveries import record
from panel.deliveries.claims import LeaseLost
from panel.deliveries.record import Begun, Ended, Sending
from panel.outbox import states
from panel.outbox.service import Attempt, Delivery
from panel.servers import service as servers
from panel.suppressions import service as suppressions

log = structlog.get_logger(__name__)

_KEEP_TRYING: Final = 60.0  # seconds that a result waits for a database that is away
_AT_THE_END: Final = 1.0  # the same in a process that is to stop
_PLAIN: Final = "sent"  # the outcome of nearly every letter, for which statements are shared


@dataclass(slots=True, eq=False)
class Entry:
    """What one connection has to record at once: letters that ended, one about to flow, attempts about to begin."""

    ended: Sequence[Ended] = ()
    sending: Sending | None = None
    begun: Begun | None = None
    error: BaseException | None = None


@dataclass(slots=True, eq=False)
class _Ticket:
    """The entries of one thread, which waits until they are committed, or until it is to commit others' with them."""

    entries: Sequence[Entry]
    leads: bool = False
    gate: Any = field(default_factory=threading.Lock)


class Recorder:
    """Shared by the connections of a worker. `stopping` is set when the process is to stop."""

    def __init__(self, stopping: threading.Event) -> None:
        self._stopping = stopping
        self._lock = threading.Lock()
        self._waiting: list[_Ticket] = []
        self._busy = False
        self._writer = Writer()

    def record(self, entry: Entry) -> None:
        """Returns once the entry is committed. In no scope.

        Raises LeaseLost when its letter may not flow; what had ended is recorded all the same.
        """
        self.commit([entry])
        if entry.error is not None:
            raise entry.error

    def commit(self, entries: Sequence[Entry]) -> None:
        """Returns once the entries are committed, together with other threads'; each has its own `error`."""
        ticket = _Ticket(entries)
        with self._lock:
            self._waiting.append(ticket)
            ticket.leads = not self._busy
            self._busy = True
            if not ticket.leads:
                ticket.gate.acquire()
        if not ticket.leads:
            ticket.gate.acquire()  # until the commit that serves it is done, or it is its turn to do one
        if ticket.leads:
            self._lead()

    def _lead(self) -> None:
        with self._lock:
            group, self._waiting = self._waiting, []
        try:
            self.write([entry for ticket in group for entry in ticket.entries])
        finally:
            with self._lock:
                following = self._waiting[0] if self._waiting else None
                self._busy = following is not None
            if following is not None:
                following.leads = True
                following.gate.release()
            for ticket in group:
                if not ticket.leads:
                    ticket.gate.release()

    def write(self, group: Sequence[Entry]) -> None:
        """Commits all of the entries; those that cannot be get an `error`. Waits for a database that is away."""
        began = time.monotonic()
        pause = 0.02
        while True:
            try:
                self._write(group)
            except OperationalError as error:
                if time.monotonic() > began + (_AT_THE_END if self._stopping.is_set() else _KEEP_TRYING):
                    for entry in group:
                        entry.error = error
                    return
                log.warning("the database is away; results of attempts wait", error=type(error).__name__)
                time.sleep(pause)
                pause = min(pause * 2, 2.0)
            except BaseException as error:  # noqa: BLE001 - it belongs to those who wait, each in a thread of its own
                for entry in group:
                    entry.error = entry.error or error
                return
            else:
                return

    def _write(self, group: Sequence[Entry]) -> None:
        for entry in group:
            entry.error = None
        if all(map(_is_usual, group)):
            try:
                with self._writer.transaction() as batch:
                    _together(batch, group)
            except (_NotAsExpected, IntegrityError):
                pass
            else:
                return
        with db.system_scope("connections of all accounts record what they send"):
            for entry in group:
                _alone(entry)

    def close(self) -> None:
        """Gives its connection back."""
        self._writer.close()


class _NotAsExpected(Exception):
    """A statement for many rows did not change each of them: they have to be looked at one by one."""


def _is_usual(entry: Entry) -> bool:
    return all(one.decision.state == _PLAIN and one.steps is None for one in entry.ended)


def _together(batch: Batch, group: Sequence[Entry]) -> None:
    ended = [one for entry in group for one in entry.ended]
    starting = [entry.sending for entry in group if entry.sending is not None]
    begun = [entry.begun for entry in group if entry.begun is not None]
    by_delivery = itemgetter(0)
    work = [
        (statement, sorted(rows, key=by_delivery))  # everybody locks in the same order
        for statement, rows in (
            (_DELIVERIES_SENT, [_sent_row(one) for one in ended]),
            (_ATTEMPTS_SENT, [_attempt_row(one) for one in ended]),
            (_SENDING_BY_OWN, [_sending_row(one) for one in starting if one.server_id is not None]),
            (_SENDING_BY_PLATFORM, [_sending_row(one) for one in starting if one.server_id is None]),
            (_ATTEMPTS_BEGUN, [_begun_row(one) for one in begun]),
        )
        if rows
    ]
    if batch.execute(work) != [len(rows) for _, rows in work]:
        raise _NotAsExpected


def _alone(entry: Entry) -> None:
    """One entry's results first, in a transaction of their own, and then what is about to begin."""

    with db.transaction():
        for one in entry.ended:
            if not record.ended(one):
                log.warning("a result came after the lease", delivery=one.claim.delivery_id, outcome=one.decision.state)
    if entry.sending is None and entry.begun is None:
        return
    try:
        with db.transaction():
            if entry.begun is not None:
                record.begun(entry.begun)
            if entry.sending is not None:
                _check_may_flow(entry.sending)
                record.sending(entry.sending)
    except (LeaseLost, SQLAlchemyError) as error:
        entry.error = error


def _check_may_flow(one: Sending) -> None:
    """Raises LeaseLost when the recipient has unsubscribed or the server has changed since the letter was claimed."""
    conditions = [Delivery.id == one.claim.delivery_id, Delivery.account_id == one.claim.account_id, _WANTED]
    if one.server_id is not None:
        conditions.append(servers.sends_still(literal(one.server_id, Uuid()), literal(one.server_version, Integer())))
    if db.session().scalar(select(Delivery.id).where(*conditions)) is None:
        raise LeaseLost


# -- statements for many rows ----------------------------------------------------------------------------------------


def _one_of(wanted: Sequence[str]) -> ColumnElement[bool]:
    return or_(*(Delivery.state == state for state in wanted))  # the values of IN are no part of what is compiled


# A person who unsubscribed a moment ago is not mailed, though the letter was claimed and screened before.
_WANTED: Final = ~and_(
    Delivery.participant_id.is_not(None),
    suppressions.stands_against(Delivery.account_id, Delivery.to_address, Delivery.campaign_id),
)
# Every row begins with these.
_CLAIM: Final[dict[str, TypeEngine[Any]]] = {
    "delivery": BigInteger(),
    "account": Uuid(),
    "fence": Integer(),
    "owner": String(),
}


def _held(rows: Columns) -> ColumnElement[bool]:
    return and_(
        Delivery.id == rows.delivery,
        Delivery.account_id == rows.account,
        Delivery.fence == rows.fence,
        Delivery.lease_owner == rows.owner,
    )


def _deliveries_sent(rows: Columns) -> Executable:
    return (
        update(Delivery)
        .where(_held(rows), _one_of(states.sources("sent")))
        .values(
            state="sent",
            reason=null(),
            reply=rows.reply,
            attempts=Delivery.attempts + 1,
            sent_at=db.clock(),
            held_at=null(),
            lease_owner=null(),
            lease_until=null(),
        )
    )


def _attempts_sent(rows: Columns) -> Executable:
    return (
        update(Attempt)
        .where(Attempt.delivery_id == rows.delivery, Attempt.fence == rows.fence)
        .values(
            ended_at=rows.at,
            phase=rows.phase,
            outcome="sent",
            code=rows.code,
            enhanced_code=rows.enhanced,
            reply=rows.reply,
            bytes_sent=rows.octets,
        )
    )


def _sending(rows: Columns) -> Update:
    return (
        update(Delivery)
        .where(_held(rows), _one_of(states.DUE), _WANTED)
        .values(
            state="sending",
            reason=null(),
            server_id=rows.server,
            server_version=rows.version,
            sent_from=rows.envelope,
        )
    )


def _sending_by_own(rows: Columns) -> Executable:
    return _sending(rows).where(servers.sends_still(rows.server, rows.version))


def _attempts_begun(rows: Columns) -> Executable:
    # Whoever wakes after its lease writes no attempt: somebody else may have the letter by now.
    columns = ["account_id", "delivery_id", "fence", "server", "started_at", "phase"]
    begun = select(Delivery.account_id, Delivery.id, Delivery.fence, rows.server, rows.at, literal("", String()))
    return insert(Attempt).from_select(columns, begun.where(_held(rows)))


_REPLY: Final[dict[str, TypeEngine[Any]]] = {"reply": String()}
_DELIVERIES_SENT: Final = Statement(_CLAIM | _REPLY, _deliveries_sent)
_ATTEMPTS_SENT: Final = Statement(
    {
        "delivery": BigInteger(),
        "fence": Integer(),
        "at": db.UtcDateTime(),
        "phase": String(),
        "code": Integer(),
        "enhanced": String(),
        "octets": Integer(),
        "reply": String(),
    },
    _attempts_sent,
)
_BY_SERVER: Final = _CLAIM | {"server": Uuid(), "version": Integer(), "envelope": JSON()}
_SENDING_BY_OWN: Final = Statement(_BY_SERVER, _sending_by_own)
_SENDING_BY_PLATFORM: Final = Statement(_BY_SERVER, _sending)
_ATTEMPTS_BEGUN: Final = Statement(_CLAIM | {"server": String(), "at": db.UtcDateTime()}, _attempts_begun)


def _begun_row(one: Begun) -> Row:
    return *_of(one), one.server, stored_time(one.at)


def _sent_row(one: Ended) -> Row:
    return *_of(one), _reply(one)


def _attempt_row(one: Ended) -> Row:
    outcome = one.outcome
    known = stored_time(one.at), outcome.phase.value, outcome.code, outcome.enhanced, outcome.bytes_sent
    return one.claim.delivery_id, one.claim.fence, *known, _reply(one)


def _sending_row(one: Sending) -> Row:
    server = None if one.server_id is None else one.server_id.hex
    return *_of(one), server, one.server_version, _text(**one.sent_from)


@lru_cache(maxsize=256)
def _text(**envelope: Any) -> str:
    return json.dumps(envelope)  # the same for all letters of a route


def _of(one: Begun | Ended | Sending) -> Row:
    claim = one.claim
    return claim.delivery_id, claim.account_id.hex, claim.fence, claim.owner


def _reply(one: Ended) -> str | None:
    return (one.outcome.reply or "")[: record.REPLY_LENGTH] or None
