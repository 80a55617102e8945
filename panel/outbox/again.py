"""Sending again: a new delivery that says what an old one said."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import insert, select, update

from panel import db, queue
from panel.message.letter import new_message_id
from panel.outbox import states
from panel.outbox.models import Attempt, Delivery

# What a new delivery has from the old one; everything else begins anew.
CARRIED: Final = (
    "kind",
    "campaign_id",
    "address_id",
    "notification_id",
    "notification_version_id",
    "event_id",
    "participant_id",
    "to_address",
    "values",
)


def resent(delivery_ids: Collection[int]) -> dict[int, int]:
    """Those of these deliveries that were sent again, each with the new one.

    Asked after the old rows are locked it is sure: whoever sends one again holds its row.
    """
    found = select(Delivery.resend_of, Delivery.id).where(Delivery.resend_of.in_(delivery_ids)).order_by(Delivery.id)
    return {old: new for old, new in db.session().execute(found) if old is not None}


def put_again(old: Sequence[Delivery], *, domains: Mapping[uuid.UUID | None, str], priority: int) -> list[int]:
    """Queues these (locked) deliveries anew, in the current transaction; returns the new ids in the same order.

    `domains` has the From's domain for each outbound address.
    """
    if not old:
        return []
    made, due = db.now(), db.session().scalar(select(db.clock()))
    rows = [
        {name: getattr(one, name) for name in CARRIED}
        | {
            "account_id": one.account_id,
            "resend_of": one.id,
            "message_id": new_message_id(domain=domains[one.address_id]),
            "date": made.replace(microsecond=0),
            "made_at": made,
            "next_attempt_at": due,
            "priority": priority,
        }
        for one in old
    ]
    new = db.session().scalars(insert(Delivery).returning(Delivery.id, sort_by_parameter_order=True), rows)
    queue.ring_delivery_after_commit()
    return list(new)


def change(delivery_ids: Collection[int], before: str, after: str, *, reason: str) -> set[int]:
    """Changes by hand (a person's doing) those of these deliveries that are in state `before`; returns which.

    What becomes `sent` went when its attempt began: it goes on counting in its server's limits.
    """
    states.check(before, after)
    row: dict[str, Any] = {"state": after, "reason": reason}
    if after == "sent":
        its_own = Attempt.delivery_id == Delivery.id, Attempt.fence == Delivery.fence
        row["sent_at"] = select(Attempt.started_at).where(*its_own).scalar_subquery()
    changed = db.session().scalars(
        update(Delivery)
        .where(Delivery.id.in_(delivery_ids), Delivery.state == before)
        .values(**row)
        .returning(Delivery.id)
        .execution_options(synchronize_session=False)
    )
    return set(changed)
