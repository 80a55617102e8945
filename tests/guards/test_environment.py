"""The environment is read in one place; what goes into Redis is JSON."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

import pytest

from .source import Module, module, modules

MAY_READ_ENVIRONMENT = {
    "panel.config": "turns it into settings",
    "panel.clikit": "joins it with what `ownpost up` has saved",
    "panel.up": "makes it for the parts it starts",
    "panel.embedded": "finds the folder for sockets before there are settings",
    "panel.process": "asks whether somebody waits for word that it is ready",
    "jobs.worker": "keeps that word from being given twice by its children",
}
TAKES_SERIALIZER = {"Queue", "Worker", "SimpleWorker"}
PICKLES = {"pickle", "cPickle", "dill", "shelve", "marshal"}


def reads_environment(one: Module) -> Iterator[str]:
    for node in ast.walk(one.tree):
        if isinstance(node, ast.Attribute) and _dotted(node) in ("os.environ", "os.getenv", "os.environb"):
            yield f"{one.name}:{node.lineno}: reads the environment; take it from Settings"
    for line, name in one.imports:
        if name in ("os.environ", "os.getenv"):
            yield f"{one.name}:{line}: reads the environment; take it from Settings"


def runs_pickle(one: Module) -> Iterator[str]:
    for line, name in one.imports:
        if name.split(".")[0] in PICKLES or "PickleSerializer" in name or "DefaultSerializer" in name:
            yield f"{one.name}:{line}: {name} runs code that others wrote into Redis"
    for node in ast.walk(one.tree):
        if isinstance(node, ast.Call) and _needs_serializer(node.func) and not _gives_json(node):
            yield f"{one.name}:{node.lineno}: RQ pickles unless serializer=JSONSerializer says otherwise"


def _needs_serializer(function: ast.expr) -> bool:
    name = _dotted(function)
    return name in TAKES_SERIALIZER or name.removeprefix("rq.") in TAKES_SERIALIZER or name.endswith("Job.fetch")


def _gives_json(call: ast.Call) -> bool:
    return any(
        keyword.arg == "serializer" and _dotted(keyword.value).endswith("JSONSerializer") for keyword in call.keywords
    )


def _dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def environment_problems(some: Iterable[Module]) -> list[str]:
    return [words for one in some if one.name not in MAY_READ_ENVIRONMENT for words in reads_environment(one)]


def test_it_reads_the_environment_in_one_place():
    assert environment_problems(modules("panel", "jobs").values()) == []


def test_it_gives_no_leave_that_nobody_needs():
    known = modules("panel", "jobs")
    assert [name for name in MAY_READ_ENVIRONMENT if not list(reads_environment(known[name]))] == []


def test_it_puts_json_into_redis():
    assert [words for one in modules("panel", "jobs").values() for words in runs_pickle(one)] == []


@pytest.mark.parametrize(
    "text", ["import os\nx = os.environ['X']", "import os\nx = os.getenv('X')", "from os import environ"]
)
def test_it_would_notice_a_reader_of_the_environment(text: str):
    assert environment_problems([module("panel.stats.service", text)])


@pytest.mark.parametrize(
    "text",
    [
        "import pickle",
        "from rq.serializers import PickleSerializer",
        "Queue('x', connection=c)",
        "rq.Worker(['x'], serializer=None)",
        "Job.fetch(i, connection=c)",
    ],
)
def test_it_would_notice_pickle(text: str):
    assert list(runs_pickle(module("panel.x", text)))


def test_it_takes_the_json_serializer_for_an_answer():
    assert not list(runs_pickle(module("panel.x", "Queue('x', connection=c, serializer=JSONSerializer)")))
