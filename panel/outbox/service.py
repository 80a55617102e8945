"""Puts deliveries into the outbox and changes their state. Who drains it is `panel.deliveries`."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from panel import db, queue
from panel.message.addresses import normalise
from panel.message.letter import new_message_id
from panel.outbox import states
from panel.outbox.models import Attempt, Delivery

__all__ = ["Attempt", "Delivery"]

# A person who waits goes before a notification, a notification before a blast.
PRIORITY = {"test": 1, "system": 2, "notification": 5, "blast": 8}


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a new delivery is to say, to whom and why."""

    kind: str
    to_address: str
    from_domain: str
    values: Mapping[str, Any]
    campaign_id: uuid.UUID | None = None
    address_id: uuid.UUID | None = None
    notification_id: uuid.UUID | None = None
    notification_version_id: uuid.UUID | None = None
    event_id: uuid.UUID | None = None
    participant_id: uuid.UUID | None = None
    resend_of: int | None = None
    expires_after: int | None = None
    canceled_because: str | None = None


def put(order: Order) -> Delivery:
    """Adds a delivery in the current transaction: `queued`, or `canceled` from the start with its reason.

    The doorbell rings once the transaction is committed, unless the delivery is a test, which its own job sends.
    """
    made = db.now()
    delivery = Delivery(
        account_id=db.account_id(),
        kind=order.kind,
        campaign_id=order.campaign_id,
        address_id=order.address_id,
        notification_id=order.notification_id,
        notification_version_id=order.notification_version_id,
        event_id=order.event_id,
        participant_id=order.participant_id,
        resend_of=order.resend_of,
        to_address=order.to_address,
        values=dict(order.values),
        message_id=new_message_id(domain=order.from_domain),
        date=made.replace(microsecond=0),
        made_at=made,
        state="canceled" if order.canceled_because else "queued",
        reason=order.canceled_because,
        priority=PRIORITY[order.kind],
        next_attempt_at=made,
        expires_at=made + dt.timedelta(seconds=order.expires_after) if order.expires_after else None,
    )
    session = db.session()
    session.add(delivery)
    session.flush()
    if delivery.state == "queued" and order.kind != "test":
        queue.ring_delivery_after_commit()
    return delivery


def put_system_letter(*, to_address: str, subject: str, text: str, html: str | None, from_domain: str) -> Delivery:
    """Queues a letter of the platform's own: a link to confirm, an alert. It takes the platform server, always."""
    with db.transaction():
        return put(
            Order(
                kind="system",
                to_address=normalise(to_address),
                from_domain=from_domain,
                values={"subject": subject, "text": text, "html": html},
            )
        )


def get(delivery_id: int) -> Delivery:
    """One delivery of this account. Raises NotFound."""
    return db.owned(Delivery, delivery_id)


def attempts(delivery_id: int) -> list[Attempt]:
    """Its attempts, oldest first."""
    found = select(Attempt).where(Attempt.delivery_id == delivery_id).order_by(Attempt.fence)
    return list(db.session().scalars(found))


def change(delivery: Delivery, state: str, *, reason: str | None = None) -> None:
    """Changes a loaded row's state by hand (a person's doing), checked against the table. In a transaction."""
    states.check(delivery.state, state)
    delivery.state = state
    delivery.reason = reason
