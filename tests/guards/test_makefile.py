"""A bare `make` lists what there is."""

from __future__ import annotations

import re
import subprocess

from tests.support.needs import need_program

from .source import ROOT


def unlisted(makefile: str, listing: str) -> list[str]:
    """Targets for people (those in .PHONY) that the listing leaves out."""
    phony = re.search(r"^\.PHONY:(.*)$", makefile, re.M)
    targets = phony[1].split() if phony else []
    return [target for target in targets if not re.search(rf"^\s*make {re.escape(target)}\s+\S", listing, re.M)]


def test_it_lists_every_target_with_what_it_does():
    make = need_program("make", install="apt-get install make")
    listing = subprocess.run([make, "--no-print-directory"], cwd=ROOT, capture_output=True, text=True, check=True)
    makefile = (ROOT / "Makefile").read_text()
    assert {"setup", "up", "test", "lint"} <= set(re.findall(r"make (\S+)", listing.stdout))
    assert unlisted(makefile, listing.stdout) == []


def test_it_would_notice():
    assert unlisted(".PHONY: up test\n", "  make up   Start everything\n") == ["test"]
    assert unlisted(".PHONY: up\n", "  make up\n") == ["up"]
