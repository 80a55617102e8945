"""What a person waits for: the start of `ownpost up`, the first step of a connection test, an event's letter.

Everything runs as a user runs it: `ownpost up --demo` twice (cold and warm), a browser, and a mail server that takes
every letter, all on this machine.
"""

from __future__ import annotations

import json
import time
import urllib.request
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from benchmarks.figures import Line, missing_line, spread, time_line
from benchmarks.sending import Bench
from tests.flows import steps
from tests.flows.conftest import ARGUMENTS
from tests.flows.system import System, chromium, own_server
from tests.support.mailserver import MailServer
from tests.support.ports import free_port

_WARM_UP = 3

CLICK = "click on *Test connection* → first step in the page"
TEST = "click on *Test connection* → its end (STARTTLS and AUTH on loopback)"
EVENT = "event accepted by the API → letter accepted by the server, idle, SQLite"
EVENT_SENT = "event sent to the API → letter accepted by the server, idle, SQLite"


def interactive(bench: Bench) -> list[Line]:
    """Starts, clicks, events."""
    if chromium() is None:
        why = "there is no Chromium here"
        return [missing_line(CLICK, "p95 ≤ 150 ms", why), missing_line(EVENT, "p50 ≤ 30 ms, p99 ≤ 100 ms", why)]
    with MailServer() as own, own_server() as signing:
        allow = f"127.0.0.1:{own.port},127.0.0.1:{signing.port}"
        cold, system = _start(bench.folder / "up", allow)
        system.stop()
        warm, system = _start(bench.folder / "up", allow)
        try:
            firsts, wholes = _browse(system, signing, own, bench.sizes.clicks)
            sent, accepted = _events(system, own, bench.sizes.events)
        finally:
            system.stop()
    return [
        time_line(CLICK, firsts, goals={0.95: 150}),
        time_line(EVENT, accepted, goals={0.5: 30, 0.99: 100}),
        Line(what=EVENT_SENT, goal="", figure=_milliseconds(sent), reached=None),
        Line(what=TEST, goal="", figure=_milliseconds(wholes), reached=None),
        Line(what="`ownpost up --demo` ready, first time", goal="", figure=f"{cold:.1f} s", reached=None),
        Line(what="`ownpost up --demo` ready, again", goal="", figure=f"{warm:.1f} s", reached=None),
    ]


def _milliseconds(seconds: list[float]) -> str:
    return f"{spread([each * 1000 for each in seconds])} ms"


def _start(folder: Path, allow: str) -> tuple[float, System]:
    began = time.monotonic()
    system = System(folder, port=free_port(), allow=allow)
    system.wait_until_ready()
    return time.monotonic() - began, system


def _browse(system: System, signing: MailServer, own: MailServer, clicks: int) -> tuple[list[float], list[float]]:
    firsts, wholes = [], []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=ARGUMENTS)
        page: Page = browser.new_page()
        steps.sign_in(page, system)
        for _ in range(clicks):
            steps.manage_email(page)
            steps.enter_server(page, signing.port)
            page.locator("[name=username]").press("Tab")
            page.wait_for_timeout(300)
            first, whole = page.evaluate(_CLICK_AND_WATCH)
            firsts.append(first / 1000)
            wholes.append(whole / 1000)
        steps.manage_email(page)
        steps.enter_server(page, own.port, security="none", username="", password="")
        page.get_by_role("button", name="Save", exact=True).click()
        page.get_by_text("Saved and on").first.wait_for()
        browser.close()
    return firsts, wholes


_CLICK_AND_WATCH = """() => new Promise(done => {
  const began = performance.now(); let first = null;
  const begun = '[data-step][data-state]';
  const look = () => {
    if (first === null && document.querySelector(begun)) first = performance.now() - began;
    if (document.querySelector('[data-live-task][data-result]')) return done([first, performance.now() - began]);
    requestAnimationFrame(look);
  };
  document.querySelector('button[value=test]').click(); look();
})"""


def _events(system: System, own: MailServer, count: int) -> tuple[list[float], list[float]]:
    """How long each letter took from when its event was sent, and from when the API had accepted it."""
    key = system.command("apikey", "add", "--account", "Acme Coffee")
    since_sent, since_accepted = [], []
    for number in range(_WARM_UP + count):
        before = len(own.messages)
        address = f"reader{number}@example.com"
        sent = time.time()
        _post(system, key, {"type": "referrer.joined", "campaign": "spring", "referrer": {"email": address}})
        accepted = time.time()
        # Two letters: the welcome, and the owner's note.
        letters = own.wait_for(before + 2)
        if number >= _WARM_UP:  # the first ones open the connections
            came = next(one.at for one in letters[before:] if address in one.recipients)
            since_sent.append(came - sent)
            since_accepted.append(max(0.0, came - accepted))
        time.sleep(0.05)
    return since_sent, since_accepted


def _post(system: System, key: str, event: dict[str, object]) -> None:
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    request = urllib.request.Request(f"{system.url}/api/v1/events", json.dumps(event).encode(), headers)
    with urllib.request.urlopen(request) as answer:
        if answer.status != 202:
            raise RuntimeError(f"an event was answered with {answer.status}")
