"""Deliveries: queued for an event, sent by a worker, looked after by the ticker, settled by a person."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any

import structlog
from flask import Flask, current_app

from panel import db, queue
from panel.accounts import service as accounts
from panel.campaigns import service as campaigns
from panel.config import Settings
from panel.deliveries import bulk, queueing, restored, retention, upkeep
from panel.deliveries.bulk import forget_in_filters
from panel.deliveries.drain import Drain, stopping
from panel.deliveries.known import Doubt
from panel.deliveries.known import latest as uncertain
from panel.deliveries.letters import letter_of, letter_values, render
from panel.deliveries.queueing import Desk, Happening, from_domain, orders_for
from panel.deliveries.resending import Suppressed, ValuesGone, mark_as_sent, resend
from panel.deliveries.screening import route_for
from panel.livesteps import StepBoard
from panel.outbox.service import Attempt, Delivery, WrongTransition
from panel.outbox.states import KINDS, RESENDABLE, STATES
from panel.participants import service as participants

__all__ = [
    "KINDS",
    "RESENDABLE",
    "STATES",
    "Attempt",
    "Delivery",
    "Desk",
    "Doubt",
    "Happening",
    "Suppressed",
    "ValuesGone",
    "WrongTransition",
    "forget_in_filters",
    "from_domain",
    "letter_of",
    "letter_values",
    "mark_as_sent",
    "orders_for",
    "render",
    "resend",
    "route_for",
    "stopping",
    "tick",
    "uncertain",
]

log = structlog.get_logger(__name__)

_DRAIN = "ownpost.drain"
_BUDGET = 1.0  # seconds of a round for letters that are old


def queue_for(
    *,
    campaign: campaigns.Campaign,
    event_id: uuid.UUID,
    event_type: str,
    referrer: participants.Participant | None = None,
    friend: participants.Participant | None = None,
    reward: Mapping[str, Any] | None = None,
    denial: Mapping[str, Any] | None = None,
) -> list[Delivery]:
    """Makes the deliveries of an event, in the current transaction."""
    return queueing.queue_for(
        Happening(
            event_id=event_id,
            event_type=event_type,
            campaign=campaign,
            referrer=referrer,
            friend=friend,
            reward=reward,
            denial=denial,
        )
    )


def drain() -> None:
    """Sends what is due, over all accounts. In no scope; called by a delivery worker."""
    _drain().run()


def send_now(delivery_id: int, board: StepBoard) -> bool:
    """Sends this delivery by the path of campaign mail, telling `board`; False when somebody else has it."""
    return _drain().send_one(delivery_id, board)


def _drain() -> Drain:
    # One for the process: its connections stay warm from one job to the next.
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]
    if _DRAIN not in app.extensions:
        app.extensions[_DRAIN] = Drain(app, app.extensions["ownpost"])
    found = app.extensions[_DRAIN]
    assert isinstance(found, Drain)
    return found


def stop() -> None:
    """Asks this process's drain to end: letters in flight finish, the rest is given back. Safe in a signal handler."""
    stopping.set()


def close() -> None:
    """Ends this process's connections to mail servers."""
    found = current_app.extensions.pop(_DRAIN, None)
    if isinstance(found, Drain):
        found.close()


def may_go_on(*, blasts_wait: Callable[[], bool]) -> bool:
    """Whether this is the database that was here before, and not an older one: the ticker's first question.

    blasts_wait: whether there are letters that are not made yet.
    """
    return restored.turn(blasts_wait)


def tick(settings: Settings, *, thorough: bool = False) -> None:
    """One round of the ticker; now and then a thorough one (see `upkeep.tick`). In no scope."""
    upkeep.tick(settings, thorough=thorough)
    with db.system_scope("the ticker looks for actions whose job was lost"):
        bulk.tend()
    if blanked := retention.tick(settings, time.monotonic() + _BUDGET):
        log.info("values that are not kept any longer were removed", letters=blanked)


def free_held() -> None:
    """Frees this account's held deliveries whose reason is gone, and rings. In the account's scope."""
    if upkeep.resume():
        queue.ring_delivery()


def do_all_of(action_id: uuid.UUID) -> None:
    """Does what is left of an action on many deliveries, part by part, until it is done or the worker must stop."""
    while bulk.go_on(action_id) and not stopping.is_set():
        pass


def days_kept() -> int | None:
    """For how many days what this account's letters were made of is kept; None: for good."""
    return retention.days_of(accounts.current(), current_app.extensions["ownpost"])
