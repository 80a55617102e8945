"""Deliveries: queued for an event, sent by a worker, looked after by the ticker, settled by a person."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from flask import Flask, current_app

from panel import db
from panel.accounts import service as accounts
from panel.campaigns import service as campaigns
from panel.deliveries import queueing, upkeep
from panel.deliveries.drain import Drain, stopping
from panel.deliveries.letters import letter_of, letter_values, render
from panel.deliveries.queueing import Happening, from_domain
from panel.deliveries.screening import route_for
from panel.livesteps import StepBoard
from panel.outbox import service as outbox
from panel.outbox.service import Attempt, Delivery, Order, WrongTransition
from panel.outbox.states import KINDS, STATES
from panel.participants import service as participants

__all__ = [
    "KINDS",
    "STATES",
    "Attempt",
    "Delivery",
    "WrongTransition",
    "from_domain",
    "letter_of",
    "letter_values",
    "render",
    "route_for",
    "tick",
]

RESENDABLE = ("failed", "canceled", "expired", "uncertain", "sent")

tick = upkeep.tick

_DRAIN = "ownpost.drain"


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


def resend(delivery_id: int, *, user_id: uuid.UUID | None = None) -> Delivery:
    """A person's *Resend*: a new delivery that points to this one; an `uncertain` one becomes `canceled`.

    Raises WrongTransition for one that may still be sent by itself.
    """
    with db.transaction():
        old = outbox.get_for_change(delivery_id)
        outbox.check_resendable(old, RESENDABLE)
        if old.state == "uncertain":
            outbox.change(old, "canceled", reason="resent")
        new = outbox.put(
            Order(
                kind=old.kind,
                to_address=old.to_address,
                from_domain=from_domain(old.address_id),
                values=old.values,
                campaign_id=old.campaign_id,
                address_id=old.address_id,
                notification_id=old.notification_id,
                notification_version_id=old.notification_version_id,
                event_id=old.event_id,
                participant_id=old.participant_id,
                resend_of=old.id,
            )
        )
        accounts.audit("delivery.resent", subject=str(old.id), user_id=user_id, new=new.id)
    return new


def mark_as_sent(delivery_id: int, *, user_id: uuid.UUID | None = None) -> Delivery:
    """A person's *Mark as sent*, for an `uncertain` delivery. Raises WrongTransition for any other."""
    with db.transaction():
        delivery = outbox.get_for_change(delivery_id)
        outbox.change(delivery, "sent", reason="marked_as_sent")
        accounts.audit("delivery.marked_as_sent", subject=str(delivery_id), user_id=user_id)
    return delivery
