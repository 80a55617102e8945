"""An account that is deleted: nothing is sent and nobody let in any more, then its rows go, then its keys in Redis.

Rows go in pieces. Which tables there are the metadata knows, so that a new one is not forgotten.
"""

from __future__ import annotations

import time
import uuid
from typing import Any, Final

import redis
import structlog
from sqlalchemy import Table, delete, select, update
from sqlalchemy.exc import DBAPIError

from panel import db, queue
from panel.accounts.service import Account
from panel.data import tables
from panel.outbox.service import Delivery
from panel.servers.service import MailServer

log = structlog.get_logger(__name__)

_PIECE: Final = 2_000


class Collided(Exception):
    """Rows point to some that were to be deleted: a call that was under way when the account was shut has put them
    where those were that are deleted first."""


def is_at_rest(account_id: uuid.UUID) -> bool:
    """Whether no worker has a letter of a closed account in hand. In a system scope."""
    claimed = select(Delivery.id).where(Delivery.account_id == account_id, Delivery.lease_until.is_not(None))
    return db.session().scalar(claimed.limit(1)) is None


def go_on(account_id: uuid.UUID, end: float) -> bool:
    """Deletes what there is of an account that was shut, until `end` (by `time.monotonic`); whether all of it is gone.

    In a system scope. Raises Collided: then try again.
    """
    servers = select(MailServer.id).where(MailServer.account_id == account_id)
    names = [str(account_id), *map(str, db.session().scalars(servers))]
    at = ""
    try:
        for table in tables.tables():
            at = table.name
            while _piece(table, account_id):
                if time.monotonic() > end:
                    return False
                db.breathe()
        at = Account.__tablename__
        with db.transaction() as session:
            session.execute(delete(Account).where(Account.id == account_id))
    except DBAPIError as error:
        if not db.is_collision(error):
            raise
        # The words of the database itself would say what is in the row.
        what = getattr(getattr(error.orig, "diag", None), "constraint_name", None)
        kind = type(error.orig).__name__
        log.warning("an account's deletion collided", account=str(account_id), at=at, error=kind, constraint=what)
        raise Collided from error
    for name in names:
        _forget_in_redis(name)
    log.info("an account was deleted", account=str(account_id))
    return True


def _piece(table: Table, account_id: uuid.UUID) -> bool:
    """Deletes some rows, the newest first; whether there were any."""
    key: Any = table.c.id
    newest = select(key).where(table.c.account_id == account_id).order_by(key.desc()).limit(_PIECE)
    with db.transaction() as session:
        ids = list(session.scalars(newest))
        if not ids:
            return False
        for name in tables.own_references(table):
            session.execute(update(table).where(table.c[name].in_(ids)).values({name: None}))
        session.execute(delete(table).where(key.in_(ids)))
    return True


def _forget_in_redis(name: str) -> None:
    # What is missed, as Redis is away, expires by itself: nothing is kept there for good.
    try:
        for key in queue.connection().scan_iter(match=f"*{name}*", count=1_000):
            queue.connection().delete(key)
    except redis.RedisError as error:
        log.warning("an account's keys were not deleted in Redis", error=type(error).__name__)
