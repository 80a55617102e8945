"""One turn of ours, in a process of its own: sends all that is due, as a delivery worker does, and says how it went.

    python -m benchmarks.ours COUNT

Reads the environment of an Ownpost process. Prints {"seconds", "sent", "attempts", "processor", "peak_kib"}.
"""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path

from sqlalchemy import func, select

from panel import create_app, db, process
from panel.config import Settings
from panel.deliveries import service as deliveries
from panel.outbox import states
from panel.outbox.service import Attempt, Delivery

_AT_ONCE, _MOST_IN_VAIN = 0.05, 100


def main(count: int) -> None:
    """Drains what is due in this process, then looks whether every letter is recorded."""
    app = create_app(Settings.from_env())
    process.prepare_for_lanes()
    with app.app_context():
        began, processor = time.perf_counter(), time.process_time()
        _drain()
        seconds, processor = time.perf_counter() - began, time.process_time() - processor
        deliveries.close()
        sent, attempts = _recorded()
    if (sent, attempts) != (count, count):
        sys.exit(f"{sent} of {count} letters are recorded as sent, and {attempts} attempts as accepted")
    figures = {"seconds": seconds, "sent": sent, "processor": processor, "peak_kib": peak_kib()}
    sys.stdout.write(json.dumps(figures) + "\n")


def _drain() -> None:
    # A drain lasts a slice, so there may be several; ones that end at once have found nothing that they may send.
    vain = 0
    while _due():
        began = time.perf_counter()
        deliveries.drain()
        vain = vain + 1 if time.perf_counter() - began < _AT_ONCE else 0
        if vain > _MOST_IN_VAIN:
            sys.exit(f"letters wait and none is sent: {_states()}")
        if vain:
            time.sleep(_AT_ONCE)


def _states() -> dict[str, int]:
    with db.system_scope("a benchmark counts what was not sent") as session:
        found = session.execute(select(Delivery.state, func.count()).group_by(Delivery.state))
        return dict(found.tuples())


def _due() -> bool:
    with db.system_scope("a benchmark looks for what is due") as session:
        waiting = select(Delivery.id).where(Delivery.state.in_(states.DUE)).limit(1)
        return session.scalar(waiting) is not None


def _recorded() -> tuple[int, int]:
    with db.system_scope("a benchmark counts what was sent") as session:
        sent = session.scalar(select(func.count()).select_from(Delivery).where(Delivery.state == "sent"))
        accepted = Attempt.ended_at.is_not(None) & (Attempt.code == 250)
        attempts = session.scalar(select(func.count()).select_from(Attempt).where(accepted))
    return sent or 0, attempts or 0


def peak_kib(pid: int | str = "self") -> int:
    """The most memory that a process has had in use at once (VmHWM of proc(5)), in KiB."""
    found = re.search(r"^VmHWM:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.M)
    assert found is not None
    return int(found[1])


if __name__ == "__main__":
    main(int(sys.argv[1]))
