"""Functions that both databases have under names of their own, for rows that are made in SQL."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

from sqlalchemy import JSON, String, literal
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.expression import ColumnElement
from sqlalchemy.sql.functions import FunctionElement

from panel.db import UtcDateTime


class random_hex(FunctionElement[str]):  # noqa: N801 - an SQL function, written as one
    """32 hexadecimal digits by chance, others for every row."""

    inherit_cache = True
    type = String()


@compiles(random_hex, "sqlite")
def _random_hex_sqlite(_element: random_hex, _compiler: SQLCompiler, **_: Any) -> str:
    return "lower(hex(randomblob(16)))"


@compiles(random_hex)
def _random_hex(_element: random_hex, _compiler: SQLCompiler, **_: Any) -> str:
    return "replace(CAST(gen_random_uuid() AS text), '-', '')"


class _JsonObject(FunctionElement[Any]):
    """Built of its arguments: key, value, key, value …"""

    inherit_cache = True
    type = JSON()


@compiles(_JsonObject, "sqlite")
def _json_object_sqlite(element: _JsonObject, compiler: SQLCompiler, **options: Any) -> str:
    return f"json_object({compiler.process(element.clauses, **options)})"


@compiles(_JsonObject)
def _json_object(element: _JsonObject, compiler: SQLCompiler, **options: Any) -> str:
    return f"json_build_object({compiler.process(element.clauses, **options)})"


def json_object(members: Mapping[str, ColumnElement[Any] | str | None]) -> ColumnElement[Any]:
    """A JSON object with these members: text, null, or what an expression gives."""
    arguments: list[ColumnElement[Any]] = []
    for name, value in members.items():
        # Typed, as PostgreSQL asks for the type of every argument.
        arguments += [literal(name, String()), literal(value, String()) if isinstance(value, str | None) else value]
    return _JsonObject(*arguments)


class moved_on(FunctionElement[dt.datetime]):  # noqa: N801 - an SQL function, written as one
    """`moved_on(at, since)`: the time `at`, later by as long as it is since `since`, or was by a third argument.

    Null where any of them is null.
    """

    inherit_cache = True
    type = UtcDateTime()


@compiles(moved_on, "sqlite")
def _moved_on_sqlite(element: moved_on, compiler: SQLCompiler, **options: Any) -> str:
    at, since, *until = (compiler.process(clause, **options) for clause in element.clauses)
    end = until[0] if until else "'now'"
    return f"strftime('%Y-%m-%d %H:%M:%f000', julianday({at}) + julianday({end}) - julianday({since}))"


@compiles(moved_on)
def _moved_on(element: moved_on, compiler: SQLCompiler, **options: Any) -> str:
    at, since, *until = (compiler.process(clause, **options) for clause in element.clauses)
    return f"({at} + ({until[0] if until else '(SELECT clock_timestamp())'} - {since}))"
