"""Statements for many rows, compiled once: for the one place where what an ORM costs is felt, the record of letters.

They are SQLAlchemy's own statements, so that both databases are served and columns are checked; only the way to the
driver is short. Rows are of all accounts, so each statement has to name the account in its condition.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from sqlalchemy import Executable
from sqlalchemy.engine import Dialect
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError
from sqlalchemy.sql.compiler import SQLCompiler

from panel import db

Row = dict[str, Any]


class Statement:
    """A statement that is executed once for each row of parameters."""

    def __init__(self, statement: Executable) -> None:
        self._statement = statement
        self._lock = threading.Lock()
        self._compiled: tuple[Dialect, str, Callable[[Row], Any]] | None = None

    def prepared(self, dialect: Dialect) -> tuple[str, Callable[[Row], Any]]:
        """Its text for the driver, and what turns a row of parameters into the driver's."""
        with self._lock:
            if self._compiled is None or self._compiled[0] is not dialect:
                self._compiled = (dialect, *_prepare(self._statement, dialect))
            return self._compiled[1:]


def _prepare(statement: Executable, dialect: Dialect) -> tuple[str, Callable[[Row], Any]]:
    compiled = statement.compile(dialect=dialect)  # type: ignore[attr-defined]  # every statement has it
    assert isinstance(compiled, SQLCompiler)
    fixed: Row = {}
    given: dict[str, Callable[[Any], Any] | None] = {}
    for bind, name in compiled.bind_names.items():
        process = bind.type.dialect_impl(dialect).bind_processor(dialect)
        if bind.required:
            given[name] = process
        else:
            fixed[name] = process(bind.effective_value) if process else bind.effective_value

    def named(row: Row) -> Row:
        return fixed | {name: process(row[name]) if process else row[name] for name, process in given.items()}

    if not compiled.positional:
        return compiled.string, named
    order = list(compiled.positiontup or ())
    usual = [fixed.get(name) for name in order]
    places = [(place, name, given[name]) for place, name in enumerate(order) if name in given]

    def positional(row: Row) -> list[Any]:
        values = usual.copy()
        for place, name, process in places:
            value = row[name]
            values[place] = process(value) if process else value
        return values

    return compiled.string, positional


class Writer:
    """Writes batches, each a transaction, over a connection that it keeps. One thread at a time."""

    def __init__(self) -> None:
        self._connection: Any = None
        self._engine: Any = None

    @contextmanager
    def transaction(self) -> Iterator[Batch]:
        """Commits at the end, and rolls back on an exception. Raises SQLAlchemy's errors for the driver's."""
        engine = db.engine()
        with _translated(engine.dialect):
            if self._connection is None or self._engine is not engine:
                self.close()
                self._engine, self._connection = engine, engine.raw_connection()
            try:
                cursor = self._connection.cursor()
                if engine.dialect.name == "sqlite":
                    cursor.execute("BEGIN IMMEDIATE")
                yield Batch(cursor, engine.dialect)
                self._connection.commit()
                cursor.close()
            except BaseException as error:
                self._undo(lost=_is_away(error, engine.dialect))
                raise

    def _undo(self, *, lost: bool) -> None:
        try:
            self._connection.rollback()
        except Exception:  # noqa: BLE001 - a connection that cannot be rolled back is of no more use
            lost = True
        if lost:
            with suppress(Exception):
                self._connection.invalidate()
            self._connection = None

    def close(self) -> None:
        """Gives the connection back."""
        if self._connection is not None:
            with suppress(Exception):
                self._connection.close()
            self._connection = None


class Batch:
    """An open transaction of a `Writer`."""

    def __init__(self, cursor: Any, dialect: Dialect) -> None:
        self._cursor = cursor
        self._dialect = dialect

    def many(self, statement: Statement, rows: Sequence[Row]) -> int:
        """Executes it once for each row; says how many rows of the table that changed in all."""
        text, parameters = statement.prepared(self._dialect)
        self._cursor.executemany(text, [parameters(row) for row in rows])
        return int(self._cursor.rowcount)


@contextmanager
def _translated(dialect: Dialect) -> Iterator[None]:
    driver = dialect.loaded_dbapi
    try:
        yield
    except driver.IntegrityError as error:
        raise IntegrityError(None, None, error) from error
    except driver.Error as error:
        kind = OperationalError if _is_away(error, dialect) else DBAPIError
        raise kind(None, None, error) from error


def _is_away(error: BaseException, dialect: Dialect) -> bool:
    """Whether the database did not take it for now: it is away, locked or full, or the connection is gone."""
    driver = dialect.loaded_dbapi
    return isinstance(error, driver.OperationalError | driver.InterfaceError)
