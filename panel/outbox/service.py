"""Puts deliveries into the outbox and changes their state. Who drains it is `panel.deliveries`."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select, update

from panel import db, queue
from panel.message.addresses import normalise
from panel.message.letter import new_message_id
from panel.outbox import states
from panel.outbox.again import change, put_again, resent
from panel.outbox.forgetting import (
    OnItsWay,
    blank_old,
    cancel_for,
    first_waiting,
    forget_mentions,
    forget_recipient,
    mentions_of,
)
from panel.outbox.many import (
    BLAST_PAUSED,
    ManyOrders,
    cancel_blast,
    counts_of_blast,
    is_blast_over,
    pause_blast,
    put_all,
    resume_blast,
)
from panel.outbox.models import IS_HELD, PLATFORM_LIMIT, Attempt, Delivery
from panel.outbox.sends import SYSTEM_PRIORITY, claimed, in_flight, lanes_in_flight, sends, waiting
from panel.outbox.states import WrongTransition
from panel.sqlfunctions import moved_on

__all__ = [
    "Attempt",
    "Delivery",
    "WrongTransition",
    "change",
    "claimed",
    "in_flight",
    "lanes_in_flight",
    "put_again",
    "resent",
    "sends",
    "waiting",
]

__all__ += ["BLAST_PAUSED", "IS_HELD", "ManyOrders", "cancel_blast", "counts_of_blast", "is_blast_over"]
__all__ += ["OnItsWay", "blank_old", "cancel_for", "first_waiting", "forget_mentions", "forget_recipient"]
__all__ += ["mentions_of"]
__all__ += ["PLATFORM_LIMIT", "pause_blast", "put_all", "resume_blast"]

# A test send has a job of its own; should that be lost, a delivery worker takes it up after this many seconds.
_TEST_HEAD_START = 10.0

# A person who waits goes before a notification, a notification before a blast.
PRIORITY = {"test": 1, "system": SYSTEM_PRIORITY, "notification": 5, "blast": 8}


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
    [delivery] = put_each([order])
    return delivery


def put_each(orders: Sequence[Order]) -> list[Delivery]:
    """As `put`, for several at once; in the same order."""
    session = db.session()
    # The database's time, as a value: rows that hold none but values are inserted together.
    at = session.scalar(select(db.clock())) if len(orders) > 1 else None
    made = [_made(order, at) for order in orders]
    session.add_all(made)
    session.flush()
    if any(one.state == "queued" and one.kind != "test" for one in made):
        queue.ring_delivery_after_commit()
    return made


def _made(order: Order, at: dt.datetime | None) -> Delivery:
    made = db.now()
    wait = _TEST_HEAD_START if order.kind == "test" else 0.0
    return Delivery(
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
        next_attempt_at=at + dt.timedelta(seconds=wait) if at else db.clock(wait),
        expires_at=made + dt.timedelta(seconds=order.expires_after) if order.expires_after else None,
    )


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


def of_events(event_ids: Collection[uuid.UUID]) -> dict[uuid.UUID, list[Delivery]]:
    """The deliveries that these events caused, oldest first; not those that a person sent again."""
    found: dict[uuid.UUID, list[Delivery]] = {}
    if not event_ids:
        return found
    wanted = select(Delivery).where(Delivery.event_id.in_(event_ids), Delivery.resend_of.is_(None))
    for one in db.session().scalars(wanted.order_by(Delivery.id)):
        if one.event_id is not None:
            found.setdefault(one.event_id, []).append(one)
    return found


def attempts(delivery_id: int) -> list[Attempt]:
    """Its attempts, oldest first."""
    found = select(Attempt).where(Attempt.delivery_id == delivery_id).order_by(Attempt.fence)
    return list(db.session().scalars(found))


def get_for_change(delivery_id: int) -> Delivery:
    """One delivery of this account, locked until the transaction ends. Raises NotFound."""
    wanted = select(Delivery).where(Delivery.id == delivery_id).with_for_update()
    delivery = db.session().scalar(wanted.execution_options(populate_existing=True))
    if delivery is None:
        raise db.NotFound("no such Delivery")
    return delivery


def put_off(delivery_id: int, *, fence: int, reason: str, wait: float | None) -> None:
    """Lets a claimed delivery that could not be tried wait for `wait` seconds; where that is None it has `failed`.

    It counts as an attempt of its own, so that one which can never be tried comes to its end.
    """
    began = func.coalesce(moved_on(Delivery.trying_since, Delivery.held_at), Delivery.trying_since, db.clock())
    mine = (
        update(Delivery)
        .where(Delivery.id == delivery_id, Delivery.fence == fence, Delivery.state.in_(states.DUE))
        .values(reason=reason, attempts=Delivery.attempts + 1, lease_owner=None, lease_until=None, held_at=None)
        .execution_options(synchronize_session=False)
    )
    with db.transaction() as session:
        if wait is None:
            session.execute(mine.values(state="failed", next_attempt_at=db.clock()))
        else:
            session.execute(mine.values(state="deferred", next_attempt_at=db.clock(wait), trying_since=began))


def readdress(campaign_id: uuid.UUID, address_id: uuid.UUID | None) -> None:
    """Moves a campaign's letters that wait to the route of another outbound address (None: the default one)."""
    mine = update(Delivery).where(Delivery.campaign_id == campaign_id)
    some = select(Delivery.id).where(Delivery.campaign_id == campaign_id, Delivery.state.in_((*states.DUE, "held")))
    with db.transaction() as session:
        # Everybody locks in the same order.
        session.scalar(select(func.count()).select_from(some.order_by(Delivery.id).with_for_update().subquery()))
        session.execute(mine.where(Delivery.state.in_((*states.DUE, "held"))).values(address_id=address_id))
        # What was held waited for the old server; the new one is asked at once. What a person holds stays held.
        session.execute(
            mine.where(Delivery.state == "held", Delivery.reason.is_distinct_from(BLAST_PAUSED)).values(
                state="queued",
                reason=None,
                trying_since=moved_on(Delivery.trying_since, Delivery.held_at),
                held_at=None,
                next_attempt_at=db.clock(),
            )
        )
        queue.ring_delivery_after_commit()
