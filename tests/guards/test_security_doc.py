"""docs/security.md cites tests and files: each of them is there, and each point of the standard has its line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from tests.guards.source import ROOT

DOCUMENT = ROOT / "docs" / "security.md"
CITED = re.compile(r"`((?:tests|panel|templates|static|docs|jobs)/[\w./@*-]*)?(?:::(\w+))?`")
SAYS = ("met", "in part", "not met", "n/a", "for the operator")


def missing(text: str) -> Iterator[str]:
    """What is cited and not there. `::test_x` by itself belongs to the file cited before it."""
    path = ""
    for given, test in CITED.findall(text):
        path = given or path
        if given and not list(ROOT.glob(given.rstrip("/"))):
            yield given
        elif test and not re.search(rf"def {test}\(", (ROOT / path).read_text()):
            yield f"{path}::{test}"


def points(text: str) -> list[list[str]]:
    """The lines of the standard's points: number, what it asks for, how it stands, what shows it."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    return [row for row in rows if re.match(r"\d+\.\d+\.\d+", row[0])]


def test_it_cites_what_is_there():
    assert list(missing(DOCUMENT.read_text())) == []


def test_it_says_how_each_point_stands_and_what_shows_it():
    found = points(DOCUMENT.read_text())
    assert len(found) > 100
    assert [row for row in found if len(row) != 4 or row[2] not in SAYS or not row[3]] == []


def test_it_would_notice():
    assert list(missing("`tests/guards/test_security_doc.py::test_nothing`, `panel/none.py`")) == [
        "tests/guards/test_security_doc.py::test_nothing",
        "panel/none.py",
    ]
    assert list(missing("`tests/guards/test_access.py::test_it_would_notice`, `::test_no_more`")) == [
        "tests/guards/test_access.py::test_no_more"
    ]
    assert Path(DOCUMENT).is_file()
