"""One session in a process of its own: what came of it, how long it took and how much memory it cost.

Run as a program it forks a process for each line of JSON on stdin, which answers by one on stdout: to import everything
each time would take a second. The authority is that of `SSL_CERT_FILE`.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from panel.smtp.destination import DestinationPolicy
from panel.smtp.outcome import Outcome, SmtpFailure
from panel.smtp.session import Session
from panel.smtp.settings import AuthMethod, Security, ServerSettings
from panel.smtp.steps import Observer, StepEvent
from panel.smtp.timeouts import Timeouts

LETTER = b"Subject: Hello\r\n\r\nA line.\r\n"
SENDER, RECIPIENT = "owner@example.org", "friend@example.net"


def peak() -> int:
    """The most memory that this process has had, in kB."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def forget_peak() -> None:
    """Let the peak begin anew, where the system can."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def talk(session: Session, *, send: bool) -> Outcome | None:
    """Open, then probe or send one letter, then say goodbye."""
    outcome = None
    try:
        session.open()
        if send:
            letter = lambda _eightbit: LETTER  # noqa: E731
            outcome = session.send(sender=SENDER, recipient=RECIPIENT, letter=letter, before_body=lambda: None)
        else:
            session.probe(sender=SENDER, recipient=RECIPIENT)
    except SmtpFailure as failure:
        outcome = failure.outcome
    session.quit()
    return outcome


def run(job: dict[str, Any]) -> dict[str, Any]:
    """Hold the session and say what came of it."""
    seen: list[StepEvent] = []
    observer: Observer = seen.append
    session = Session(
        settings=ServerSettings(
            host="localhost",
            port=job["port"],
            security=Security(job["security"]),
            auth=AuthMethod(job["auth"]),
            username=job["username"],
            password=job["password"],
        ),
        policy=DestinationPolicy.parse(ports="25", allow=f"127.0.0.1:{job['port']}"),
        ehlo_name="client.example",
        timeouts=Timeouts(**job["timeouts"]) if job["timeouts"] else Timeouts.for_test(),
        observer=observer,
    )
    forget_peak()
    before, began = peak(), time.monotonic()
    outcome = talk(session, send=job["send"])
    seconds, grown = time.monotonic() - began, peak() - before
    return {
        "code": outcome.failure if outcome else None,
        "verdict": outcome.verdict if outcome else None,
        "phase": outcome.phase if outcome else None,
        "reply": outcome.reply if outcome else None,
        "failed": [[event.step, event.code] for event in seen if event.code],
        "goodbye": next((event.detail for event in seen if event.step == "quit" and event.ms is not None), None),
        "told": repr(seen) + repr(outcome),
        "seconds": seconds,
        "grown": grown,
    }


class Alone:
    """The test's end of it."""

    def __init__(self, ca_file: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.engines.smtp.alone"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, "SSL_CERT_FILE": str(ca_file)},
        )  # fmt: skip

    def run(self, job: dict[str, Any]) -> dict[str, Any]:
        """Hold a session in a process of its own."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


def main() -> None:
    """Serves until stdin ends."""
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            sys.stdout.write(json.dumps(run(json.loads(line))) + "\n")
            sys.stdout.flush()
            os._exit(0)
        os.waitpid(pid, 0)


if __name__ == "__main__":
    main()
