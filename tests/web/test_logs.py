"""Logs: whatever a value holds, one thing that happened is one line that a terminal shows as it is."""

from __future__ import annotations

import subprocess
import sys

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
