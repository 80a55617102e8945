"""The published description, tried on the app itself: whatever it allows is taken, whatever it forbids is refused."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select
from werkzeug.serving import make_server

from panel.campaigns.service import Campaign
from panel.events import reading
from panel.events.models import Event
from tests.events.conftest import CREATED, Api, new_key
from tests.guards.source import ROOT
from tests.support.world import World

pytestmark = [pytest.mark.parametrize("database_url", ["sqlite"], indirect=True), pytest.mark.timeout(640)]


class Trial:
    """The app on a socket, and schemathesis with every check at it."""

    def __init__(self, world: World, folder: Path) -> None:
        world.reconfigure(OWNPOST_LIMIT_API="1000000/minute")
        self._folder = folder
        self._key = new_key(world.acme.id)
        self._delivery = Api(world.app.test_client(), self._key).taken(CREATED)["deliveries"][0]["id"]
        self._server = make_server("127.0.0.1", 0, world.app, threaded=True)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Whatever is drawn is drawn in the same way each time."""
        url = f"http://127.0.0.1:{self._server.server_port}/api/v1"
        command = [
            sys.executable, "-m", "schemathesis.cli", "run", f"{url}/openapi.json", "--url", url, "--checks", "all",
            "--header", f"Authorization: Bearer {self._key}", "--generation-deterministic", "--continue-on-failure",
            # How fast it is judged elsewhere.
            "--no-color", "--request-timeout", "60", "--suppress-health-check", "too_slow", *arguments,
        ]  # fmt: skip
        hooks = {"SCHEMATHESIS_HOOKS": "tests.events.schemathesis_hooks", "DELIVERY": self._delivery}
        return subprocess.run(
            command, env={**os.environ, "PYTHONPATH": str(ROOT), **hooks}, cwd=self._folder,
            capture_output=True, text=True, timeout=600, check=False,
        )  # fmt: skip

    def end(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def trial(world: World, spring: Campaign, tmp_path: Path) -> Iterator[Trial]:
    """With a campaign, and a delivery of it."""
    made = Trial(world, tmp_path)
    yield made
    made.end()


def test_it_finds_nothing(world: World, trial: Trial) -> None:
    done = trial.run("--max-examples", "25")
    assert done.returncode == 0, f"{done.stdout[-20_000:]}\n{done.stderr[-3_000:]}"
    assert "Operations:       3 selected / 3 total" in done.stdout
    for phase in ("Coverage", "Fuzzing", "Stateful"):
        assert f"✅ {phase}" in done.stdout
    with world.acme_scope() as session:
        taken = set(session.scalars(select(Event.type)))
    assert taken == set(reading.TYPES), "some kind of event was never taken"


def test_it_would_notice(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("panel.events.service.delivery", lambda number: {"id": number})
    done = trial.run("--max-examples", "2", "--phases", "fuzzing", "--include-operation-id", "getDelivery")
    assert done.returncode == 1, done.stdout[-20_000:]
    assert "Response violates schema" in done.stdout
