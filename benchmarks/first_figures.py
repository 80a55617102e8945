"""The README's figures: how soon `ownpost up` is ready, a click shows its first step, an event's letter is accepted.

    .venv/bin/python -m benchmarks.first_figures [--events 50] [--clicks 10]

Everything runs on this machine, in one run: `ownpost up --demo` twice (cold and warm), a browser, and a mail server
that takes every letter. Prints a table in Markdown.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from tests.flows import steps
from tests.flows.conftest import ARGUMENTS, free_port
from tests.flows.system import System, chromium, own_server
from tests.support.mailserver import MailServer


def main() -> None:
    """Makes the figures and prints them."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--events", type=int, default=50)
    parser.add_argument("--clicks", type=int, default=10)
    given = parser.parse_args()
    with MailServer() as own, own_server() as signing, tempfile.TemporaryDirectory() as folder:
        allow = f"127.0.0.1:{own.port},127.0.0.1:{signing.port}"
        cold, system = _start(Path(folder), allow)
        system.stop()
        warm, system = _start(Path(folder), allow)
        try:
            first_step, test = _browse(system, signing, own, given.clicks)
            accepted = _events(system, own, given.events)
        finally:
            system.stop()
    rows = [
        ("`ownpost up --demo` ready, first time", f"{cold:.1f} s"),
        ("`ownpost up --demo` ready, again", f"{warm:.1f} s"),
        ("click on *Test connection* → first step in the page", _spread(first_step)),
        ("click on *Test connection* → its end (STARTTLS and AUTH on loopback)", _spread(test)),
        ("event sent to the API → its letter accepted by the server, idle", _spread(accepted)),
    ]
    print(f"| what | {platform.machine()}, Python {platform.python_version()}, SQLite |\n| --- | --- |")
    print("\n".join(f"| {what} | {figure} |" for what, figure in rows))


def _spread(seconds: list[float]) -> str:
    found = sorted(seconds)
    p95 = found[min(len(found) - 1, int(len(found) * 0.95))]
    return f"p50 {statistics.median(found) * 1000:.0f} ms, p95 {p95 * 1000:.0f} ms (n = {len(found)})"


def _start(folder: Path, allow: str) -> tuple[float, System]:
    began = time.monotonic()
    system = System(folder / "var", port=free_port(), allow=allow)
    system.wait_until_ready()
    return time.monotonic() - began, system


def _browse(system: System, signing: MailServer, own: MailServer, clicks: int) -> tuple[list[float], list[float]]:
    firsts, wholes = [], []
    with sync_playwright() as playwright:
        program = chromium()
        if program is None:
            sys.exit("This needs Chromium.")
        browser = playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
        page: Page = browser.new_page()
        steps.sign_in(page, system)
        for _ in range(clicks):
            steps.manage_email(page)
            steps.enter_server(page, signing.port)
            page.locator("[name=username]").press("Tab")
            page.wait_for_timeout(300)
            first, whole = _click(page)
            firsts.append(first)
            wholes.append(whole)
        steps.manage_email(page)
        steps.enter_server(page, own.port, security="none", username="", password="")
        page.get_by_role("button", name="Save", exact=True).click()
        page.get_by_text("Saved and on").first.wait_for()
        browser.close()
    return firsts, wholes


_WATCH = """() => new Promise(done => {
  const began = performance.now(); let first = null;
  const begun = '[data-step][data-state]';
  const look = () => {
    if (first === null && document.querySelector(begun)) first = performance.now() - began;
    if (document.querySelector('[data-live-task][data-result]')) return done([first, performance.now() - began]);
    requestAnimationFrame(look);
  };
  document.querySelector('button[value=test]').click(); look();
})"""


def _click(page: Page) -> tuple[float, float]:
    first, whole = page.evaluate(_WATCH)
    return first / 1000, whole / 1000


def _events(system: System, own: MailServer, count: int) -> list[float]:
    key = system.command("apikey", "add", "--account", "Acme Coffee")
    found = []
    for number in range(count + 3):
        before = len(own.messages)
        address = f"reader{number}@example.com"
        asked = time.time()
        _post(system, key, {"type": "referrer.joined", "campaign": "spring", "referrer": {"email": address}})
        # Two letters: the welcome, and the owner's note.
        letters = own.wait_for(before + 2)
        if number >= 3:  # the first ones open the connections
            found.append(next(one.at for one in letters[before:] if address in one.recipients) - asked)
        time.sleep(0.05)
    return found


def _post(system: System, key: str, event: dict[str, object]) -> None:
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    request = urllib.request.Request(f"{system.url}/api/v1/events", json.dumps(event).encode(), headers)
    with urllib.request.urlopen(request) as answer:
        assert answer.status == 202


if __name__ == "__main__":
    main()
