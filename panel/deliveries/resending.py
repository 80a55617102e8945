"""*Resend* and *Mark as sent* for one delivery: what a person does about a letter that nothing sends by itself."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from panel import db
from panel.accounts import service as accounts
from panel.deliveries.queueing import from_domain
from panel.outbox import service as outbox
from panel.outbox import states
from panel.outbox.service import Delivery, WrongTransition
from panel.suppressions import service as suppressions


class Suppressed(ValueError):
    """The recipient is not mailed any more; the text is the reason."""


class ValuesGone(ValueError):
    """What the letter was made of has been removed, so it cannot be made again."""


def resend(delivery_id: int, *, user_id: uuid.UUID | None = None) -> Delivery:
    """A new delivery that points to this one; an `uncertain` one becomes `canceled`. A second time gives the same.

    Raises WrongTransition for one that may still be sent by itself, ValuesGone, and Suppressed.
    """
    with db.transaction():
        old = outbox.get_for_change(delivery_id)
        earlier = outbox.resent([old.id]).get(old.id)
        if earlier is not None:
            return outbox.get(earlier)
        if old.state not in states.RESENDABLE:
            raise WrongTransition(f"a delivery that is {old.state} is not sent again")
        if old.blanked_at is not None:
            raise ValuesGone
        if reason := suppressed([old]).get(old.id):
            raise Suppressed(reason)
        [new] = renew([old], priority=outbox.PRIORITY[old.kind])
        accounts.audit("delivery.resent", subject=str(old.id), user_id=user_id, new=new)
    return outbox.get(new)


def mark_as_sent(delivery_id: int, *, user_id: uuid.UUID | None = None) -> Delivery:
    """A person knows that an `uncertain` one arrived. Raises WrongTransition for any other."""
    with db.transaction() as session:
        delivery = outbox.get_for_change(delivery_id)
        if not outbox.change([delivery_id], "uncertain", "sent", reason="marked_as_sent"):
            raise WrongTransition(f"a delivery that is {delivery.state} is not marked as sent")
        session.refresh(delivery)
        accounts.audit("delivery.marked_as_sent", subject=str(delivery_id), user_id=user_id)
    return delivery


def renew(old: Sequence[Delivery], *, priority: int) -> list[int]:
    """Queues these locked deliveries anew; the `uncertain` ones become `canceled`. Returns the new ids."""
    uncertain = [one.id for one in old if one.state == "uncertain"]
    if uncertain:
        outbox.change(uncertain, "uncertain", "canceled", reason="resent")
    # The log outlives the address; what was its mail takes the default one's route.
    domains = {address_id: from_domain(address_id) for address_id in {one.address_id for one in old}}
    return outbox.put_again(old, domains=domains, priority=priority)


def suppressed(some: Sequence[Delivery]) -> dict[int, str]:
    """Those of the deliveries whose recipients are not mailed any more, with the reason.

    As when sending: only participants can be suppressed, not the account's own people.
    """
    found: dict[int, str] = {}
    for campaign_id in {one.campaign_id for one in some}:
        mine = [one for one in some if one.campaign_id == campaign_id and one.participant_id is not None]
        reasons = suppressions.suppressed_among({one.to_address for one in mine}, campaign_id)
        found |= {one.id: reasons[one.to_address] for one in mine if one.to_address in reasons}
    return found
