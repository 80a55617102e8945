"""The database: base class, account scope, transactions.

Every query runs in a scope. An *account scope* sees one account's rows and can write no other's; a *system scope* is
for work that belongs to no account (the ticker, sign-in) and says why. Without a scope, `session()` raises. A scope has
one session of its own, so an object loaded for one account can never be handed out to another by the identity map.
"""

from __future__ import annotations

import datetime as dt
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from psycopg.errors import DeadlockDetected
from sqlalchemy import (
    JSON,
    CursorResult,
    DateTime,
    Engine,
    Float,
    ForeignKeyConstraint,
    MetaData,
    Select,
    Uuid,
    create_engine,
    event,
    insert,
    literal,
    text,
)
from sqlalchemy.engine import Connection, Dialect
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import DeclarativeBase, Session, sessionmaker
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.expression import ColumnElement
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator

from panel.tenancy import SELECTED, AccountItself, AccountOwned, CrossAccount, ScopedSession, criteria

__all__ = ["AccountItself", "AccountOwned", "CrossAccount"]

ModelT = TypeVar("ModelT", bound="AccountOwned")

_WRITE = "ownpost_write"
_BREATH = 0.12  # seconds
_NAME = "ownpost"  # of our sessions on PostgreSQL; nobody else's are broken off
_END_FROZEN = text(
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE datname = current_database() AND usename = current_user AND application_name = :name"
    " AND xact_start IS NOT NULL AND wait_event = 'ClientRead'"
    " AND state_change < clock_timestamp() - make_interval(secs => :seconds)"
)


class NoScope(RuntimeError):
    """A query was tried outside any account or system scope."""


class NotFound(LookupError):
    """No such row in this account. Pages answer 404 whether the row is missing or somebody else's."""


# The log is carried over to the database every 16 MB and not every 4: the same pages change over and over.
_SQLITE = (
    "journal_mode=WAL",
    "synchronous=NORMAL",
    "foreign_keys=ON",
    "busy_timeout=15000",
    "wal_autocheckpoint=4000",
)


class UtcDateTime(TypeDecorator[dt.datetime]):
    """An aware datetime in UTC with microseconds; a naive one is refused."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: dt.datetime | None, dialect: Dialect) -> dt.datetime | None:
        """Converts to UTC; SQLite keeps text without a zone."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a datetime without a time zone")
        value = value.astimezone(dt.UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: dt.datetime | None, dialect: Dialect) -> dt.datetime | None:
        """Always aware, always UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=dt.UTC) if value.tzinfo is None else value.astimezone(dt.UTC)


class clock(FunctionElement[dt.datetime]):  # noqa: N801 - an SQL function, written as one
    """The database's own time now, plus an offset in seconds: leases of many machines are measured by one clock."""

    inherit_cache = True
    type = UtcDateTime()

    def __init__(self, offset: float | ColumnElement[float] = 0.0) -> None:
        given = literal(round(offset, 3), Float()) if isinstance(offset, float | int) else offset
        super().__init__(given)


@compiles(clock, "sqlite")
def _clock_sqlite(element: clock, compiler: SQLCompiler, **options: Any) -> str:
    # %f is seconds with three digits; six keep the text comparable with what UtcDateTime stores.
    offset = compiler.process(element.clauses, **options)
    return f"strftime('%Y-%m-%d %H:%M:%f000', 'now', {offset} || ' seconds')"


@compiles(clock)
def _clock(element: clock, compiler: SQLCompiler, **options: Any) -> str:
    # A sub-select is evaluated once, so that an index can be searched by it; the bare function would be called for
    # every row.
    return f"(SELECT clock_timestamp() + make_interval(secs => {compiler.process(element.clauses, **options)}))"


class Base(DeclarativeBase):
    """Base of all models."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy reads it from the class
        dt.datetime: UtcDateTime(),
        uuid.UUID: Uuid(as_uuid=True),
        dict[str, Any]: JSON(),
        list[str]: JSON(),
    }


def owned_key(column: str, target: str, *, ondelete: str = "CASCADE") -> ForeignKeyConstraint:
    """A foreign key that carries the account, so that a row can point only to rows of its own account."""
    return ForeignKeyConstraint(["account_id", column], [f"{target}.account_id", f"{target}.id"], ondelete=ondelete)


def now() -> dt.datetime:
    """The host's time, aware, UTC."""
    return dt.datetime.now(dt.UTC)


@dataclass(slots=True)
class _Scope:
    account_id: uuid.UUID | None
    reason: str
    session: Session
    after_commit: list[Callable[[], object]] = field(default_factory=list)
    depth: int = 0


_scope: ContextVar[_Scope | None] = ContextVar("ownpost_scope", default=None)
_makers: dict[str, sessionmaker[Session]] = {}


def connect(url: str) -> Engine:
    """Makes the engine that all scopes of this process use; a second call replaces it."""
    engine = _sqlite_engine(url) if url.startswith("sqlite") else _postgresql_engine(url)
    _makers["main"] = sessionmaker(engine, class_=ScopedSession, expire_on_commit=False)
    _makers["writing"] = sessionmaker(
        engine.execution_options(**{_WRITE: True}), class_=ScopedSession, expire_on_commit=False
    )
    return engine


def _postgresql_engine(url: str) -> Engine:
    named = {"application_name": _NAME}
    return create_engine(url, pool_size=8, max_overflow=24, pool_timeout=10, pool_pre_ping=True, connect_args=named)


def _sqlite_engine(url: str) -> Engine:
    Path(url.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(url, pool_size=8, max_overflow=24, pool_timeout=10, connect_args={"timeout": 15})

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: Any) -> None:
        # The driver must not begin transactions on its own: `_begin` decides which kind.
        connection.isolation_level = None
        for pragma in _SQLITE:
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # A deferred transaction that reads and then writes fails at once when another wrote in between; one that
        # takes the write lock first waits for its turn.
        writes = connection.get_execution_options().get(_WRITE, False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def engine() -> Engine:
    """The engine of this process."""
    bind = _makers["main"].kw["bind"]
    assert isinstance(bind, Engine)
    return bind


@contextmanager
def account_scope(account_id: uuid.UUID) -> Iterator[Session]:
    """Opens a session that sees and writes one account's rows only."""
    with _open(account_id, "account") as session:
        yield session


@contextmanager
def system_scope(reason: str) -> Iterator[Session]:
    """Opens a session over all accounts. `reason` says why this work belongs to none."""
    with _open(None, reason) as session:
        yield session


def identity_session(*, writing: bool) -> Session:
    """A session for Flask-Security's datastore, which finds people over all accounts. The caller closes it."""
    return _makers["writing" if writing else "main"](info={"account_id": None})


@contextmanager
def _open(account_id: uuid.UUID | None, reason: str) -> Iterator[Session]:
    session = _makers["main"](info={"account_id": account_id})
    token = _scope.set(_Scope(account_id=account_id, reason=reason, session=session))
    try:
        yield session
    finally:
        _scope.reset(token)
        session.close()


def _current() -> _Scope:
    scope = _scope.get()
    if scope is None:
        raise NoScope("open an account_scope() or a system_scope() first")
    return scope


def session() -> Session:
    """The session of the current scope."""
    return _current().session


def account_id() -> uuid.UUID:
    """The account of the current scope. Raises NoScope in a system scope."""
    scope = _current()
    if scope.account_id is None:
        raise NoScope(f"this needs an account scope, not the system scope for {scope.reason}")
    return scope.account_id


@contextmanager
def transaction() -> Iterator[Session]:
    """A writing transaction: commits at the end, rolls back on an exception, then runs what waits for the commit.

    Inside another one it joins it.
    """
    scope = _current()
    if scope.depth == 0:
        # Ends the reading transaction that an earlier query began: on SQLite it could not be turned into a writing one.
        scope.session.commit()
        scope.session.connection(execution_options={_WRITE: True})
    scope.depth += 1
    try:
        yield scope.session
    except BaseException:
        scope.depth -= 1
        if scope.depth == 0:
            scope.session.rollback()
            scope.after_commit.clear()
        raise
    scope.depth -= 1
    if scope.depth == 0:
        _commit(scope)


def _commit(scope: _Scope) -> None:
    try:
        scope.session.commit()
    except BaseException:
        scope.session.rollback()
        scope.after_commit.clear()
        raise
    waiting, scope.after_commit = scope.after_commit, []
    for action in waiting:
        action()


def after_commit(action: Callable[[], object]) -> None:
    """Runs `action` once the current transaction is committed, once however often it is asked for; never if it is
    rolled back."""
    scope = _current()
    if scope.depth == 0:
        raise RuntimeError("after_commit() belongs inside a transaction()")
    if action not in scope.after_commit:
        scope.after_commit.append(action)


def release() -> None:
    """Ends a reading transaction, so that no connection is held while something slow goes on."""
    scope = _scope.get()
    if scope is not None and scope.depth == 0:
        scope.session.commit()


def breathe() -> None:
    """Lets others write, between two of many transactions. SQLite has one writer at a time, and whoever waits for it
    looks again every 100 ms only. In no transaction."""
    if _current().session.get_bind().dialect.name == "sqlite":
        time.sleep(_BREATH)


def end_frozen(seconds: float) -> int:
    """Breaks off our sessions that have stood still in a transaction for so long; says how many. In no scope.

    A process that is frozen, or on a machine that is gone without a word, keeps the rows locked that it was about to
    change. PostgreSQL's own idle_in_transaction_session_timeout does not see those that have just ended a pipeline.
    What SQLite keeps locked nobody can free.
    """
    if engine().dialect.name != "postgresql":
        return 0
    with engine().connect() as connection:
        return len(connection.execute(_END_FROZEN, {"name": _NAME, "seconds": seconds}).all())


def is_collision(error: DBAPIError) -> bool:
    """Whether somebody else was at the same rows at the same time. Anything else is trouble."""
    return isinstance(error, IntegrityError) or isinstance(error.orig, DeadlockDetected)


def owned(model: type[ModelT], key: uuid.UUID | int) -> ModelT:
    """The row of this account with that id. Raises NotFound."""
    row = session().get(model, key)
    if row is None or (session().info["account_id"] or row.account_id) != row.account_id:
        raise NotFound(f"no such {model.__name__}")
    return row


def insert_selected(model: type[AccountOwned], rows: Select[Any]) -> int:
    """Adds a row of this account for each one that is selected, and says how many. Columns go by their names.

    Nothing of another account can be selected: each table that `rows` is from is searched for this account's only.
    """
    account = account_id()
    for source in rows.get_final_froms():
        rows = rows.where(source.c.account_id == account)
    rows = rows.add_columns(literal(account, Uuid(as_uuid=True)).label("account_id"))
    names = [column.name for column in rows.selected_columns]
    # The options are for what `rows` selects from in turn, such as addresses to leave out.
    statement = insert(model).from_select(names, rows, include_defaults=False).options(*criteria(account))
    result = session().execute(statement, execution_options={SELECTED: account, "preserve_rowcount": True})
    assert isinstance(result, CursorResult)
    return result.rowcount
