"""A bare `make` lists what there is."""

from __future__ import annotations

import os
import re
import subprocess

from tests.support.needs import need_program

from .source import ROOT


def unlisted(makefile: str, listing: str) -> list[str]:
    """Targets for people (those in .PHONY) that the listing leaves out."""
    phony = re.search(r"^\.PHONY:(.*)$", makefile, re.M)
    targets = phony[1].split() if phony else []
    return [target for target in targets if not re.search(rf"^\s*make {re.escape(target)}\s+\S", listing, re.M)]


def told(*arguments: str) -> str:
    """What make prints, asked as from a shell: a make above it (`make test` is one) would hand its own flags down."""
    make = need_program("make", install="apt-get install make")
    ours = {"MAKEFLAGS", "MFLAGS", "MAKELEVEL", "PORT"}
    env = {name: value for name, value in os.environ.items() if name not in ours}
    return subprocess.run([make, *arguments], cwd=ROOT, env=env, capture_output=True, text=True, check=True).stdout


def test_it_lists_every_target_with_what_it_does():
    listing = told()
    makefile = (ROOT / "Makefile").read_text()
    assert {"setup", "up", "test", "lint"} <= set(re.findall(r"make (\S+)", listing))
    assert unlisted(makefile, listing) == []


def test_up_takes_another_port():
    for given, wanted in (([], "up --demo"), (["PORT=8001"], "up --demo --port 8001")):
        # Nothing is set up or run: `-o` takes the environment as made, `-n` only prints.
        said = told("-n", "-o", ".venv/.installed", "up", *given)
        assert said.strip().endswith(f"ownpost {wanted}")


def test_it_would_notice():
    assert unlisted(".PHONY: up test\n", "  make up   Start everything\n") == ["test"]
    assert unlisted(".PHONY: up\n", "  make up\n") == ["up"]
