"""Fixtures of the flow tests. The system is started once for each test process; the browser too."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.flows.system import System, chromium, own_server
from tests.support.mailserver import MailServer, Peer, ScriptedServer
from tests.support.needs import missing
from tests.support.ports import free_port

ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
]  # fmt: skip

expect.set_options(timeout=30_000)  # as long as anything may take on a machine with other tests on it


def _stall(peer: Peer) -> None:
    peer.stall()


class SlowServer(ScriptedServer):
    """A server that takes its time over the sender: until `go_on` is set, which it is unless a test clears it."""

    def __init__(self) -> None:
        super().__init__(self._converse)
        self.go_on = threading.Event()
        self.go_on.set()

    def _converse(self, peer: Peer) -> None:
        peer.greet("8BITMIME")
        while True:
            line = peer.hear().upper()
            if line.startswith(b"MAIL"):
                self.go_on.wait(60)
            if line.startswith(b"DATA"):
                peer.say("354 go ahead")
                peer.hear_letter()
                peer.say("250 2.0.0 taken slowly")
            elif line.startswith(b"QUIT"):
                peer.say("221 bye")
                return
            else:
                peer.say("250 ok")


@pytest.fixture(scope="session")
def own() -> Iterator[MailServer]:
    """The owner's mail server."""
    with own_server() as server:
        yield server


@pytest.fixture(scope="session")
def stalling() -> Iterator[ScriptedServer]:
    """A server that takes the connection and says nothing."""
    with ScriptedServer(_stall) as server:
        yield server


@pytest.fixture(scope="session")
def slow() -> Iterator[SlowServer]:
    """A server that takes its time over the sender."""
    with SlowServer() as server:
        yield server


@pytest.fixture(scope="session")
def system(
    tmp_path_factory: pytest.TempPathFactory, own: MailServer, stalling: ScriptedServer, slow: SlowServer
) -> Iterator[System]:
    """The panel with its demo account, ready."""
    allow = ",".join(f"127.0.0.1:{server.port}" for server in (own, stalling, slow))
    made = System(tmp_path_factory.mktemp("up") / "var", port=free_port(), allow=allow)
    try:
        made.wait_until_ready()
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """The system's Chromium, without a window."""
    program = chromium()
    if program is None:
        missing("Chromium", install="apt-get install chromium")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
        yield opened
        opened.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A browser's profile for one test: 1280 pixels wide."""
    made = browser.new_context(viewport={"width": 1280, "height": 900})
    made.set_default_timeout(30_000)
    made.grant_permissions(["clipboard-read", "clipboard-write"])
    yield made
    made.close()


@pytest.fixture
def page(context: BrowserContext, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A tab. What its console complains of fails the test; after a failure its picture is kept in `artifacts/`."""
    tab = context.new_page()
    complaints: list[str] = []
    tab.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    failed = request.session.testsfailed
    yield tab
    if request.session.testsfailed > failed or os.environ.get("OWNPOST_KEEP_PICTURES"):
        folder = Path("artifacts")
        folder.mkdir(exist_ok=True)
        tab.screenshot(path=folder / f"{request.node.name}.png", full_page=True)
    # A refused form is answered with 422 on purpose, which Chromium reports as an error.
    unexpected = [text for text in complaints if "status of 4" not in text]
    assert unexpected == [], unexpected
