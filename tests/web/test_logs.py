"""Logs: whatever a value holds, one thing that happened is one line that a terminal shows as it is."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.support.world import World

NASTY = 'a"\nlevel=error event="forged"\r\x1b[31m\x9b\u2028end'
PROGRAM = f"""
import logging, structlog
from panel.web import logs
logs.configure()
nasty = {NASTY!r}
structlog.get_logger("test").info("something", path=nasty)
logging.getLogger("library").warning("it said %s", nasty)
try:
    raise ValueError(nasty)
except ValueError as error:
    structlog.get_logger("test").error("failed", exc_info=error)
"""


def test_it_writes_one_line_without_control_characters_whatever_a_value_holds():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, check=True, timeout=60)
    lines = done.stderr.decode().split("\n")
    assert lines.pop() == ""
    assert len(lines) == 3
    assert all(line.isprintable() for line in lines)
    assert [line.startswith(("timestamp=", "WARNING library: ")) for line in lines] == [True] * 3
    assert all("forged" in line and "end" in line for line in lines)


def refusals(logs: list[Any]) -> list[tuple[Any, ...]]:
    return [(one["status"], one["method"], one["path"], one["user"]) for one in logs if one["event"] == "not allowed"]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_it_notes_who_tried_what_is_not_theirs(world: World):
    member = world.client(world.member)
    with capture_logs() as logs:
        assert member.get("/settings/api-keys").status_code == 403
        assert world.client().get("/settings/api-keys").status_code == 302
        assert (
            world.client().get("/api/v1/deliveries/1", headers={"Authorization": "Bearer a-guess"}).status_code == 401
        )
    assert refusals(logs) == [
        (403, "GET", "/settings/api-keys", world.member.id),
        (401, "GET", "/api/v1/deliveries/1", None),
    ]
    assert "a-guess" not in repr(logs)
