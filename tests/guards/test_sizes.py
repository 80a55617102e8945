"""A file stays under 400 lines and a function under 40: what is longer has two subjects."""

from __future__ import annotations

from collections.abc import Mapping

from .source import Module, code_lines, module, modules, texts

FILE, FUNCTION = 400, 40


def long_files(files: Mapping[str, str]) -> list[str]:
    return [f"{path} has {n} lines" for path, text in files.items() if (n := len(text.splitlines())) > FILE]


def long_functions(one: Module) -> list[str]:
    return [
        f"{one.name}.{function.name} has {n} lines"
        for function in one.functions()
        if (n := code_lines(function, one.text)) > FUNCTION
    ]


def test_it_keeps_files_short():
    code = {**texts("panel", ".py", without="versions"), **texts("jobs", ".py")}
    pages = {**texts("templates", ".html", ".txt"), **texts("static", ".js")}
    assert long_files({**code, **pages}) == []


def test_it_keeps_functions_short():
    assert [words for one in modules("panel", "jobs").values() for words in long_functions(one)] == []


def test_it_would_notice():
    assert long_files({"a.py": "x\n" * (FILE + 1), "b.py": "x\n" * FILE}) == [f"a.py has {FILE + 1} lines"]
    body = "    x = 1\n" * (FUNCTION + 1)
    bad = module("panel.x", f"class A:\n  def f():\n{body}")
    assert long_functions(bad) == [f"panel.x.f has {FUNCTION + 1} lines"]
