"""A delivery's state changes only by a conditional UPDATE whose sources are in the table; the docs show the table."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator

import pytest

from panel.outbox import states

from .source import ROOT, Module, module, modules

# Rows that are being made up, with a past that never was.
MAKES_A_PAST = {"panel.stats.demo"}
# Other things that have a state too, by the name that such a row goes by.
NOT_A_DELIVERY = {"blast", "server"}

DOCS = ROOT / "docs" / "states.md"

Atoms = set[str]  # states; `=name` for the value of a variable; `<after>` for what the table says


class _Change:
    """An UPDATE of deliveries that sets their state, as it stands in the source."""

    def __init__(self, one: Module, call: ast.Call, after: ast.expr) -> None:
        self.module = one
        self._call = call
        self.after = after
        self.line = call.lineno
        self._names = _assignments(one, call)
        self._wheres: list[ast.expr] = []
        self._root: ast.expr = call
        self._walk(call)

    def _walk(self, node: ast.expr) -> None:
        node = self._resolved(node)
        while isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            if node.func.attr == "where":
                self._wheres += [part for argument in node.args for part in self._parts(argument)]
            node = self._resolved(node.func.value)
        self._root = node

    def _parts(self, argument: ast.expr) -> list[ast.expr]:
        if isinstance(argument, ast.Starred):
            given = self._resolved(argument.value)
            return list(given.elts) if isinstance(given, ast.Tuple) else []
        return [argument]

    def _resolved(self, node: ast.expr) -> ast.expr:
        seen = set()
        while isinstance(node, ast.Name) and node.id in self._names and node.id not in seen:
            seen.add(node.id)
            node = self._names[node.id]
        return node

    @property
    def is_of_deliveries(self) -> bool:
        root = self._root
        return (
            isinstance(root, ast.Call)
            and _last_name(root.func) == "update"
            and bool(root.args)
            and _last_name(root.args[0]) == "Delivery"
        )

    def problems(self) -> Iterator[str]:
        where = f"{self.module.name}:{self.line}"
        found = [atoms for atoms in map(self._condition, self._wheres) if atoms is not None]
        if not found:
            yield f"{where}: changes a delivery's state, whatever it was"
        for atoms in found[:1]:
            yield from (f"{where}: {words}" for atom in sorted(atoms) if (words := self._wrong(atom)))

    def _condition(self, node: ast.expr) -> Atoms | None:
        """From which states the row may come, if that is what this part of the WHERE says."""
        node = self._resolved(node)
        if isinstance(node, ast.Compare) and _is_state(node.left) and isinstance(node.ops[0], ast.Eq):
            return self._atoms(node.comparators[0])
        if isinstance(node, ast.Call) and _last_name(node.func) == "in_" and _is_state(_owner(node.func)):
            return self._atoms(node.args[0])
        if isinstance(node, ast.Call) and len(node.args) == 1 and self._is_one_of(node.func):
            return self._atoms(node.args[0])
        if isinstance(node, ast.Call) and _last_name(node.func) == "and_":
            inner = [atoms for atoms in map(self._condition, node.args) if atoms is not None]
            return inner[0] if inner else None
        return None

    def _is_one_of(self, function: ast.expr) -> bool:
        """Whether it is a function of this module that only compares the state with what it is given."""
        return any(
            one.name == _last_name(function) and len(one.body) == 1 and any(map(_is_state, ast.walk(one)))
            for one in self.module.functions()
            if isinstance(function, ast.Name)
        )

    def _atoms(self, node: ast.expr) -> Atoms:
        node = self._resolved(node)
        match node:
            case ast.Constant(value=str(state)):
                return {state}
            case ast.Starred(value=inner):
                return self._atoms(inner)
            case ast.Tuple(elts=parts) | ast.List(elts=parts) | ast.Set(elts=parts):
                return set().union(*map(self._atoms, parts))
            case ast.IfExp(body=one, orelse=other):
                return self._atoms(one) | self._atoms(other)
            case ast.Attribute(attr=name) if name in ("DUE", "FINAL", "RESENDABLE"):
                return set(getattr(states, name))
            case ast.Call(func=function, args=[after]) if _last_name(function) == "sources":
                return {f"<{ast.unparse(after)}>"}
            case ast.Call(func=function, args=[_, inner, *_]) if _last_name(function) == "bindparam":
                return self._atoms(inner)
            case ast.Name(id=name):
                return {f"={name}"}
        return {f"?{ast.unparse(node)}"}

    def _wrong(self, atom: str) -> str | None:
        after = ast.unparse(self.after)
        if atom.startswith("<"):
            return None if atom == f"<{after}>" else f"takes the sources of {atom} for {after}"
        if atom.startswith("="):
            # The same variable: no change of state. A parameter: what each caller gives must be in the table.
            good = atom[1:] == after or self._given(atom[1:]) or self._checked(atom[1:], after)
            return None if good else f"cannot tell which states {atom[1:]} holds"
        if isinstance(self.after, ast.Constant) and (atom, self.after.value) in _pairs():
            return None
        return f"{atom} → {after} is not in the table"

    def _checked(self, before: str, after: str) -> bool:
        """Whether the function asks the table itself, for the variable or for each of what it holds."""
        mine = [node for one in self.module.functions() if self._call in ast.walk(one) for node in ast.walk(one)]
        each = {
            ast.unparse(node.target) for node in mine if isinstance(node, ast.For) and ast.unparse(node.iter) == before
        }
        return any(
            isinstance(node, ast.Call)
            and _last_name(node.func) == "check"
            and [ast.unparse(given) for given in node.args] in [[name, after] for name in {before, *each}]
            for node in mine
        )

    def _given(self, parameter: str) -> bool:
        calls = [
            (keyword.value, [value for value in node.args if isinstance(value, ast.Constant)])
            for node in ast.walk(self.module.tree)
            if isinstance(node, ast.Call)
            for keyword in node.keywords
            if keyword.arg == parameter
        ]
        return bool(calls) and all(
            isinstance(value, ast.Constant)
            and any(value.value == each.value or (value.value, each.value) in _pairs() for each in others)
            for value, others in calls
        )


def _pairs() -> set[tuple[str, str]]:
    return {(edge.before, edge.after) for edge in states.EDGES}


def _assignments(one: Module, call: ast.Call) -> dict[str, ast.expr]:
    """What the names mean at this call: those of the module, then those of the function that it is in."""
    found: dict[str, ast.expr] = {}
    blocks = [one.tree.body]
    blocks += [node.body for node in one.functions() if any(inner is call for inner in ast.walk(node))]
    for body in blocks:
        for statement in body:
            nodes = [statement] if body is one.tree.body else list(ast.walk(statement))
            for node in nodes:
                if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                    found[node.targets[0].id] = node.value
                elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value:
                    found[node.target.id] = node.value
    return found


def _last_name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _owner(node: ast.expr) -> ast.expr:
    return node.value if isinstance(node, ast.Attribute) else node


def _is_state(node: ast.expr) -> bool:
    return isinstance(node, ast.Attribute) and node.attr == "state" and _last_name(node.value) == "Delivery"


def changes(one: Module) -> Iterator[_Change]:
    for node in ast.walk(one.tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "values":
            after = [keyword.value for keyword in node.keywords if keyword.arg == "state"]
            after += [
                value
                for given in node.args
                if isinstance(given, ast.Dict)
                for key, value in zip(given.keys, given.values, strict=True)
                if key is not None and ("state" in (_last_name(key), getattr(key, "value", None)))
            ]
            for value in after:
                change = _Change(one, node, value)
                if change.is_of_deliveries:
                    yield change


def assigned(one: Module) -> Iterator[str]:
    """Assignments to a `state`, where deliveries are known."""
    if one.name in MAKES_A_PAST or not any(name.endswith(".Delivery") for _, name in one.imports):
        return
    for node in ast.walk(one.tree):
        targets = node.targets if isinstance(node, ast.Assign) else []
        flat = [each for target in targets for each in (target.elts if isinstance(target, ast.Tuple) else [target])]
        for target in flat:
            if isinstance(target, ast.Attribute) and target.attr == "state":
                if _last_name(target.value) not in NOT_A_DELIVERY | {"self"}:
                    yield f"{one.name}:{node.lineno}: sets a state by hand"
            elif isinstance(target, ast.Subscript) and getattr(target.slice, "value", None) == "state":
                yield f"{one.name}:{node.lineno}: sets a state where it is hard to see"


def problems(some: Iterable[Module]) -> list[str]:
    return [
        words
        for one in some
        for words in (*assigned(one), *(words for change in changes(one) for words in change.problems()))
    ]


def test_every_change_of_state_is_conditional_and_in_the_table():
    source = modules("panel", "jobs")
    assert problems(source.values()) == []
    # It sees what it should: the core's record, the upkeep, and what a person does.
    seen = {one.name for one in source.values() if list(changes(one))}
    assert {"panel.deliveries.record", "panel.deliveries.upkeep", "panel.outbox.service"} <= seen


@pytest.mark.parametrize(
    "text",
    [
        "update(Delivery).where(Delivery.id == 1).values(state='sent')",
        "update(Delivery).where(Delivery.state == 'failed').values(state='queued')",
        "update(Delivery).where(Delivery.state.in_(('queued', 'sent'))).values(state='held')",
        "update(Delivery).where(Delivery.state.in_(states.sources('held'))).values(state='sent')",
        "mine = update(Delivery)\nmine.where(Delivery.state.in_(anything)).values(state='held')",
        "update(Delivery).where(Delivery.state.in_(states.sources(a))).values(state=b)",
        "update(Delivery).values({Delivery.state: 'sent'})",
        "def f(some):\n    return or_(*(Delivery.state == one for one in some))\n"
        "update(Delivery).where(f(['held'])).values(state='sending')",
        "from panel.outbox.service import Delivery\nletter.state = 'sent'",
        "from panel.outbox.service import Delivery\nletter.reason, letter.state = None, 'sent'",
        "from panel.outbox.service import Delivery\nrow['state'] = 'sent'",
    ],
)
def test_it_would_notice_another_change(text: str):
    assert problems([module("panel.deliveries.record", text)])


@pytest.mark.parametrize(
    "text",
    [
        "update(Delivery).where(held, Delivery.state.in_(states.sources(state))).values(state=state)",
        "waits = Delivery.state.in_((*states.DUE, 'held'))\nupdate(Delivery).where(waits).values(state='expired')",
        "update(Server).where(Server.id == 1).values(state='paused')",
        "def f(some):\n    return or_(*(Delivery.state == one for one in some))\n"
        "update(Delivery).where(Delivery.id == 1, f(states.DUE)).values(state='sending')",
    ],
)
def test_it_lets_good_ones_be(text: str):
    assert problems([module("panel.deliveries.record", text)]) == []


def test_every_state_can_be_reached_and_only_final_ones_are_ends():
    assert set(states.TRANSITIONS) == set(states.STATES)
    assert {edge.after for edge in states.EDGES} == set(states.STATES)
    assert {state for state, after in states.TRANSITIONS.items() if not after} == set(states.FINAL) - {"sent"}
    assert len(_pairs()) == len(states.EDGES)


def table() -> str:
    """The table as the docs show it."""
    rows = "\n".join(f"| `{edge.before}` | `{edge.after}` | {edge.when} |" for edge in states.EDGES)
    again = ", ".join(f"`{state}`" for state in states.RESENDABLE)
    return (
        f"| from | to | when |\n| --- | --- | --- |\n{rows}\n"
        f"| {again} | (a new delivery) | a person's *Resend*; the new row points to the old one |\n"
    )


def picture() -> str:
    """The picture as the docs show it."""
    arrows = "\n".join(f"    {edge.before} --> {edge.after}" for edge in states.EDGES if edge.before != edge.after)
    ends = "\n".join(f"    {state} --> [*]" for state in states.FINAL)
    return f"stateDiagram-v2\n    [*] --> queued\n    [*] --> canceled\n{arrows}\n{ends}\n"


def test_the_docs_show_the_table_and_the_picture_of_it():
    text = DOCS.read_text()
    assert table() in text, f"docs/states.md should hold this table:\n{table()}"
    [shown] = re.findall(r"```mermaid\n(.*?)```", text, re.DOTALL)
    assert shown == picture(), f"docs/states.md should hold this picture:\n{picture()}"
