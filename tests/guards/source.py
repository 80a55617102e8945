"""The project's own source, read for the guards: what imports what, and which functions are routes."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent

FEATURES = (
    "accounts",
    "outbox",
    "signin",
    "addresses",
    "servers",
    "settings",
    "campaigns",
    "participants",
    "suppressions",
    "deliveries",
    "blasts",
    "testsend",
    "events",
    "stats",
    "help",
    "mailbox",
    "audit",
    "data",
)
_VERBS = {"get", "post", "put", "patch", "delete", "route"}


@dataclass(frozen=True)
class Module:
    """One module: its dotted name, its text and its syntax tree."""

    name: str
    text: str
    tree: ast.Module

    @property
    def feature(self) -> str | None:
        """The feature it belongs to."""
        parts = self.name.split(".")
        return parts[1] if parts[0] == "panel" and len(parts) > 1 and parts[1] in FEATURES else None

    @property
    def last(self) -> str:
        """The last part of its name: `service`, `routes`, …"""
        return self.name.rpartition(".")[2]

    @cached_property
    def imports(self) -> list[tuple[int, str]]:
        """(line, dotted name) of everything it imports, wherever in the file; names from modules come with them."""
        found = []
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                found += [(node.lineno, alias.name) for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                found += [(node.lineno, f"{node.module}.{alias.name}") for alias in node.names]
        return found

    def functions(self) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
        """Every function and method."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield node

    def routes(self) -> Iterator[ast.FunctionDef]:
        """Functions that a blueprint's decorator makes reachable by a URL."""
        for function in self.functions():
            if isinstance(function, ast.FunctionDef) and any(map(_is_route, function.decorator_list)):
                yield function


def _is_route(decorator: ast.expr) -> bool:
    return (
        isinstance(decorator, ast.Call)
        and isinstance(decorator.func, ast.Attribute)
        and decorator.func.attr in _VERBS
        and isinstance(decorator.func.value, ast.Name)
    )


def module(name: str, text: str) -> Module:
    """A module of that name with that text: how a guard is shown a bad sample."""
    return Module(name=name, text=text, tree=ast.parse(text))


@cache
def modules(*folders: str) -> dict[str, Module]:
    """The modules below these folders of the project, by name; migrations are left out: they are history, not code."""
    found = {}
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            if not name.startswith("panel.migrations.versions."):
                found[name] = module(name, path.read_text())
    return found


def texts(folder: str, *suffixes: str, without: str = "vendor") -> Mapping[str, str]:
    """The files below a folder with these suffixes, by path; those below a folder named `without` are left out."""
    return {
        str(path.relative_to(ROOT)): path.read_text()
        for path in sorted((ROOT / folder).rglob("*"))
        if path.suffix in suffixes and without not in path.relative_to(ROOT).parts
    }


def code_lines(function: ast.FunctionDef | ast.AsyncFunctionDef, text: str) -> int:
    """Lines of a function's body that are code: neither its docstring, nor blank, nor a comment."""
    body = function.body
    if (
        isinstance(body[0], ast.Expr)
        and isinstance(body[0].value, ast.Constant)
        and isinstance(body[0].value.value, str)
    ):
        body = body[1:]
    if not body:
        return 0
    lines = text.splitlines()[body[0].lineno - 1 : function.end_lineno]
    return sum(1 for line in lines if line.strip() and not line.strip().startswith("#"))
