"""A worker that is away: the page says so within seconds, and nothing is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from panel import db
from panel.addresses.models import OutboundAddress
from tests.deliveries.conftest import platform, post
from tests.support.ports import free_port
from tests.support.wait import wait_for
from tests.support.world import PASSWORD, World

__all__ = ["platform", "post"]

pytestmark = [pytest.mark.timeout(600), pytest.mark.xdist_group("flows")]


@pytest.fixture
def panel_without_workers(world: World) -> Iterator[str]:
    """The web process alone."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    world.reconfigure(OWNPOST_PUBLIC_URL=url, OWNPOST_SMTP_ALLOW="127.0.0.1:2525")
    process = subprocess.Popen(
        [sys.executable, "-m", "panel.cli", "web", "--port", str(port)], env={**os.environ, **world.environ}
    )
    try:
        wait_for(lambda: _alive(url), 30, what="the web process")
        yield url
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def _alive(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/healthz", timeout=1) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def test_a_connection_test_that_nobody_takes_up_says_so(page: Page, world: World, panel_without_workers: str) -> None:
    with world.acme_scope(), db.transaction() as session:
        address = OutboundAddress(email="hello@acme.test", confirmed_at=db.now(), is_default=True)
        session.add(address)
    page.goto(f"{panel_without_workers}/login")
    page.locator("[name=email]").fill(world.owner.email)
    page.locator("[name=password]").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.goto(f"{panel_without_workers}/settings/email/{address.id}/server")
    page.locator("[name=host]").fill("127.0.0.1")
    page.locator("[name=port]").fill("2525")
    page.locator("select[name=security]").select_option("none")
    page.get_by_role("button", name="Test connection").click()
    expect(page.locator("[data-code=no_worker]")).to_be_visible(timeout=30_000)
    expect(page.locator("[data-result=failed]")).to_be_visible()
