"""What every test has: no network but loopback, real servers by fixture, and a list of what was not run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from panel.data import service as data
from panel.deliveries import service as deliveries
from panel.deliveries import upkeep
from tests.support import examples, network
from tests.support.servers import postgres_cluster, postgres_url, redis_client, redis_server, redis_url
from tests.support.world import (
    database_url,
    migrated_postgres,
    migrated_sqlite,
    world,
)

__all__ = [
    "database_url",
    "migrated_postgres",
    "migrated_sqlite",
    "postgres_cluster",
    "postgres_url",
    "redis_client",
    "redis_server",
    "redis_url",
    "world",
]

network.install()
examples.install()


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets a ticker's round in a test end what it has begun, however slow the machine."""
    for module in (data, deliveries, upkeep):
        monkeypatch.setattr(module, "_BUDGET", 60.0)


@pytest.fixture(autouse=True)
def network_guard() -> Iterator[None]:
    """Fails a test that tried to leave the machine, even when the code under test swallowed the refusal."""
    network.take_violations()
    yield
    if tried := network.take_violations():
        pytest.fail("tried to leave the machine: " + "; ".join(tried), pytrace=False)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Ends the run with what was skipped and why, so that a skip is never overlooked."""
    reports = terminalreporter.stats.get("skipped", [])
    reasons = Counter(report.longrepr[2].removeprefix("Skipped: ") for report in reports)
    if reasons:
        terminalreporter.section("not run on this machine")
        for reason, count in reasons.most_common():
            terminalreporter.write_line(f"{count:4} × {reason}")
