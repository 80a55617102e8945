"""A route has a few lines and builds no query."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

import pytest

from .source import Module, code_lines, module, modules

MOST = 15
# The building blocks of queries, and what runs them.
QUERIES = {"select", "insert", "update", "delete", "text"}
RUNS = {"execute", "scalar", "scalars", "query", "session", "transaction", "owned"}


def problems(some: Iterable[Module]) -> list[str]:
    return [f"{one.name}: {words}" for one in some for words in _problems(one)]


def _problems(one: Module) -> Iterator[str]:
    for route in one.routes():
        lines = code_lines(route, one.text)
        if lines > MOST:
            yield f"{route.name} has {lines} lines, {MOST} are enough"
        for node in ast.walk(route):
            if isinstance(node, ast.Call) and _asks_database(node.func):
                yield f"{route.name} asks the database in line {node.lineno}"


def _asks_database(function: ast.expr) -> bool:
    if isinstance(function, ast.Name):
        return function.id in QUERIES
    return (
        isinstance(function, ast.Attribute)
        and function.attr in RUNS
        and (function.attr in ("execute", "scalar", "scalars", "query") or _is_named(function.value, "db"))
    )


def _is_named(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


def test_it_keeps_routes_thin():
    assert problems(modules("panel").values()) == []


def test_it_finds_the_routes():
    assert sum(len(list(one.routes())) for one in modules("panel").values()) > 10


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("\n".join(f"    x = {number}" for number in range(MOST + 1)), "16 lines"),
        ("    return select(User)", "asks the database"),
        ("    return db.session()", "asks the database"),
        ("    return session.execute(query)", "asks the database"),
        ("    with db.transaction(): ...", "asks the database"),
    ],
)
def test_it_would_notice(body: str, words: str):
    bad = module("panel.stats.routes", f'@blueprint.get("/x")\ndef x():\n    """Doc."""\n{body}\n')
    assert any(words in found for found in problems([bad]))


def test_it_counts_neither_docstring_nor_comments_nor_blank_lines():
    body = '    """One\n\n    two."""\n    # why\n\n' + "\n".join(f"    x = {number}" for number in range(MOST))
    assert problems([module("panel.stats.routes", f'@blueprint.get("/x")\ndef x():\n{body}\n')]) == []
