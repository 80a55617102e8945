"""How far a blast is: counted at most once a second however many look on, and told to all of them by one live task."""

from __future__ import annotations

import threading
import time
import uuid
from dataclasses import dataclass
from typing import Any, Final

import redis
import structlog
from flask import Flask
from sqlalchemy.exc import SQLAlchemyError

from panel import db, live, queue
from panel.blasts.models import Blast
from panel.campaigns import service as campaigns
from panel.outbox import service as outbox
from panel.servers import service as servers

log = structlog.get_logger(__name__)

_EVERY: Final = 1.0  # seconds between two counts
_WINDOW: Final = 10.0  # seconds over which the pace is measured
_SAMPLES: Final = 12
_FORETELL_EVERY: Final = 10.0  # seconds: what the limits do changes slowly, and takes longer to tell than the counts


@dataclass(frozen=True, slots=True)
class Progress:
    """A blast's letters. `waiting` are those that may still leave; `per_second` is None until it is known.

    `limits`: what its server's limits do to them.
    """

    state: str
    recipients: int
    sent: int
    waiting: int
    held: int
    failed: int
    uncertain: int
    canceled: int
    per_second: float | None
    limits: servers.Keeps

    @property
    def over(self) -> bool:
        """Whether nothing changes any more by itself."""
        return self.waiting == 0

    @property
    def ended(self) -> int:
        """Letters that have come to their end, whichever."""
        return self.sent + self.failed + self.uncertain + self.canceled

    @property
    def seconds_left(self) -> float | None:
        """By the pace of the last seconds; None while nothing moves."""
        return self.waiting / self.per_second if self.per_second and self.state == "sending" else None


def task_of(blast_id: uuid.UUID) -> str:
    """The live task of a blast."""
    return f"blast-{blast_id}"


def look(blast: Blast) -> Progress:
    """How far it is now, told to everybody who looks on."""
    return read(_look(blast))


def read(data: dict[str, Any]) -> Progress:
    """A snapshot of the live task, as `look` published it. One of before the limits were told says nothing of them."""
    counts, samples = data["counts"], data["samples"]

    def of(*states: str) -> int:
        return sum(counts.get(state, 0) for state in states)

    return Progress(
        state=data["state"],
        recipients=data["recipients"],
        sent=of("sent", "bounced"),
        waiting=of("queued", "deferred", "held", "sending"),
        held=of("held"),
        failed=of("failed", "expired"),
        uncertain=of("uncertain"),
        canceled=of("canceled"),
        per_second=_pace(samples),
        limits=servers.Keeps(*data.get("limits", ())),
    )


def _pace(samples: list[list[float]]) -> float | None:
    if len(samples) < 2 or samples[-1][0] - samples[0][0] < _EVERY / 2:
        return None
    return max(0.0, (samples[-1][1] - samples[0][1]) / (samples[-1][0] - samples[0][0]))


def _look(blast: Blast) -> dict[str, Any]:
    account_id, task = blast.account_id, task_of(blast.id)
    before = _latest(account_id, task)
    now = time.time()
    if before is not None and before["state"] == blast.state and now - before["at"] < _EVERY:
        return before
    counts = outbox.counts_of_blast(blast.id)
    ended = sum(counts.get(state, 0) for state in ("sent", "bounced", "failed", "expired", "uncertain", "canceled"))
    # A pause is no time in which letters could have gone.
    earlier = before["samples"] if before is not None and before["state"] == blast.state else []
    data = {
        "state": blast.state,
        "recipients": blast.recipients,
        "counts": counts,
        "at": now,
        "samples": [*(one for one in earlier if now - one[0] <= _WINDOW), [now, ended]][-_SAMPLES:],
    }
    data["limits"], data["foretold_at"] = _limits(blast, before, data)
    if before is None or _tells(before) != _tells(data):
        live.publish(account_id, task, data, over=read(data).over, keep=1)
    return data


def _limits(blast: Blast, before: dict[str, Any] | None, data: dict[str, Any]) -> tuple[list[str], float]:
    now: float = data["at"]
    if before is not None and before["state"] == blast.state and now - before.get("foretold_at", 0.0) < _FORETELL_EVERY:
        return before["limits"], before["foretold_at"]
    if blast.state != "sending" or read({**data, "limits": ()}).over:
        return [], now
    keeps = servers.keeps(servers.route_of(campaigns.get(blast.campaign_id).address_id))
    return [keeps.now, keeps.done], now


def _tells(data: dict[str, Any]) -> tuple[Any, ...]:
    """What a page shows of a snapshot."""
    return data["state"], data["recipients"], data["counts"], _pace(data["samples"]) or 0, data.get("limits")


def _latest(account_id: uuid.UUID, task: str) -> dict[str, Any] | None:
    try:
        newest = live.latest(account_id, task)
    except redis.RedisError:
        return None
    return newest.data if newest else None


def watch(app: Flask, account_id: uuid.UUID, blast_id: uuid.UUID, closed: threading.Event) -> None:
    """Looks every second while somebody's stream is open, until the blast is over. In no scope."""
    over = False
    while not over and not closed.wait(_EVERY):
        try:
            with app.app_context(), db.account_scope(account_id):
                over = _watch_once(blast_id)
        except (redis.RedisError, SQLAlchemyError) as error:
            log.warning("a blast was not counted", error=type(error).__name__)


def _watch_once(blast_id: uuid.UUID) -> bool:
    # Of many who watch, one counts.
    mine = queue.connection().set(f"ownpost:blast-watch:{blast_id}", "1", nx=True, px=int(_EVERY * 900))
    return bool(mine) and look(db.owned(Blast, blast_id)).over
