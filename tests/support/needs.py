"""What a test needs from the machine: there, or a visible skip that says what to install. In CI, a failure."""

from __future__ import annotations

import os
import shutil
from typing import NoReturn

import pytest


def missing(what: str, *, install: str) -> NoReturn:
    """Ends the test: `what` is not on this machine and `install` brings it. Under CI=true this is a failure."""
    line = f"{what} is missing here; install it with: {install}"
    if os.environ.get("CI") == "true":
        pytest.fail(line, pytrace=False)
    pytest.skip(line)


def need_program(*names: str, install: str) -> str:
    """The path of the first of these programs that is on PATH (or in the sbin folders, which PATH often lacks)."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"])
    for name in names:
        if found := shutil.which(name, path=path):
            return found
    missing(names[0], install=install)
