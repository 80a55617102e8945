"""Statements for many rows, compiled once: for the one place where what an ORM costs is felt, the record of letters.

They are SQLAlchemy's own statements, so that both databases are served and columns are checked; only the way to the
driver is short. SQLite executes a statement once for each row, which costs it least. PostgreSQL gets all rows of a
statement as one JSON text, which the statement joins to its tables, and all statements of a batch in one go: what it
costs there is to begin a statement, and to wait for its answer. Rows are of all accounts, so each statement has to name
the account in its condition.
"""

from __future__ import annotations

import datetime as dt
import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Final

from sqlalchemy import JSON, Executable, String, bindparam, cast, func, literal_column, select
from sqlalchemy.engine import Dialect
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.types import TypeEngine

from panel import db

Row = tuple[Any, ...]
"""Plain values in the order of a statement's columns: numbers, text, None; ids as their 32 hexadecimal digits, times as
`stored_time` has them, JSON as its text."""

Columns = Any
"""What `rows.c` is: the columns of the given rows by their names."""

_ROWS: Final = "given"
_encode: Final = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode


def stored_time(at: dt.datetime) -> str:
    """A time of UTC as both databases read it."""
    return at.isoformat(" ", "microseconds")[:26]


@dataclass(frozen=True, slots=True)
class _Compiled:
    """A statement's text for the driver, and what makes parameters of rows."""

    text: str
    parameters: Callable[[Sequence[Row]], Any]


class Statement:
    """A statement about many rows; `build` makes it of their columns, which go by these names and types."""

    def __init__(self, columns: Mapping[str, TypeEngine[Any]], build: Callable[[Columns], Executable]) -> None:
        self._columns = columns
        self._build = build
        self._lock = threading.Lock()
        self._compiled: tuple[Dialect, _Compiled] | None = None

    def compiled(self, dialect: Dialect) -> _Compiled:
        """As the driver takes it."""
        with self._lock:
            if self._compiled is None or self._compiled[0] is not dialect:
                row_by_row = dialect.name == "sqlite"
                self._compiled = (dialect, (self._one_by_one if row_by_row else self._all_at_once)(dialect))
            return self._compiled[1]

    def _one_by_one(self, dialect: Dialect) -> _Compiled:
        given = {name: bindparam(name, type_=kind) for name, kind in self._columns.items()}
        text, order, fixed = _compile(self._build(_Given(given)), dialect)
        assert order is not None
        constants = tuple(fixed.values())
        places = {name: place for place, name in enumerate((*self._columns, *fixed))}
        pick = itemgetter(*(places[name] for name in order))
        return _Compiled(text, lambda rows: [pick(row + constants) for row in rows])

    def _all_at_once(self, dialect: Dialect) -> _Compiled:
        element = func.json_array_elements(cast(bindparam(_ROWS, type_=String()), JSON())).table_valued("value").c.value
        rows = select(
            *(
                cast(element.op("->>")(literal_column(str(place))), kind).label(name)
                for place, (name, kind) in enumerate(self._columns.items())
            )
        ).subquery()
        text, _, fixed = _compile(self._build(rows.c), dialect)
        return _Compiled(text, lambda rows: fixed | {_ROWS: _encode(rows)})


class _Given:
    """Parameters in the place of columns."""

    def __init__(self, parameters: Mapping[str, Any]) -> None:
        self.__dict__.update(parameters)


def _compile(statement: Executable, dialect: Dialect) -> tuple[str, Sequence[str] | None, dict[str, Any]]:
    """A statement's text, the order of its parameters where they have one, and the values that are the same always."""
    compiled = statement.compile(dialect=dialect)  # type: ignore[attr-defined]  # every statement has it
    assert isinstance(compiled, SQLCompiler)
    fixed: dict[str, Any] = {}
    for bind, name in compiled.bind_names.items():
        if not bind.required:
            process = bind.type.dialect_impl(dialect).bind_processor(dialect)
            fixed[name] = process(bind.effective_value) if process else bind.effective_value
    return compiled.string, compiled.positiontup if compiled.positional else None, fixed


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
                if engine.dialect.name == "postgresql":
                    self._prepare()
            try:
                cursor = self._connection.cursor()
                if engine.dialect.name == "sqlite":
                    cursor.execute("BEGIN IMMEDIATE")
                yield Batch(self._connection, cursor, engine.dialect)
                self._connection.commit()
                cursor.close()
            except BaseException as error:
                self._undo(lost=_is_away(error, engine.dialect))
                raise

    def _prepare(self) -> None:
        """A plan that was made while a table was new, and read from end to end, is kept when the table has grown."""
        cursor = self._connection.cursor()
        for way in ("seqscan", "bitmapscan", "hashjoin", "mergejoin", "material", "memoize"):
            cursor.execute(f"SET enable_{way} = off")
        cursor.execute("SET TIME ZONE 'UTC'")
        self._connection.commit()
        cursor.close()

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
        """Ends the connection, which is not as others are."""
        if self._connection is not None:
            with suppress(Exception):
                self._connection.invalidate()
            self._connection = None


class Batch:
    """An open transaction of a `Writer`."""

    def __init__(self, connection: Any, cursor: Any, dialect: Dialect) -> None:
        self._connection = connection
        self._cursor = cursor
        self._dialect = dialect

    def execute(self, work: Sequence[tuple[Statement, Sequence[Row]]]) -> list[int]:
        """Executes each statement for all of its rows, in this order; says how many rows of a table each changed."""
        tasks = [(statement.compiled(self._dialect), rows) for statement, rows in work]
        if self._dialect.name == "sqlite":
            return [self._one_by_one(task, rows) for task, rows in tasks]
        with self._connection.driver_connection.pipeline():
            cursors = [self._connection.cursor().execute(task.text, task.parameters(rows)) for task, rows in tasks]
        return [cursor.rowcount for cursor in cursors]

    def _one_by_one(self, task: _Compiled, rows: Sequence[Row]) -> int:
        self._cursor.executemany(task.text, task.parameters(rows))
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
