"""A participant who is deleted: their row, their letters, and what others' letters and events say of them."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Final

from panel import db
from panel.accounts import service as accounts
from panel.blasts import service as blasts
from panel.campaigns import service as campaigns
from panel.deliveries import service as deliveries
from panel.events import service as events
from panel.outbox import service as outbox
from panel.outbox.service import OnItsWay
from panel.participants import service as participants
from panel.servers import service as servers
from panel.suppressions import service as suppressions

__all__ = ["OnItsWay"]

# No transaction that makes letters takes so long: what it made is seen by whoever has locked the person by then.
_MEANWHILE: Final = dt.timedelta(minutes=5)


def is_suppressed(participant_id: uuid.UUID) -> bool:
    """Whether they must not be mailed, which outlives them. Raises NotFound."""
    person = participants.get(participant_id)
    return suppressions.is_suppressed(person.email, person.campaign_id) is not None


def delete(participant_id: uuid.UUID) -> int:
    """Deletes them; says how many letters were canceled. Raises NotFound, and OnItsWay: then try again in a moment.

    A suppression of their address stays, and nothing but the address: whoever asked for no mail must not get some the
    day that somebody adds them again. An owner may take it off the list.
    """
    with db.transaction():
        canceled = outbox.cancel_for(participants.lock(participant_id).id)
        if canceled:  # which stays so, whatever becomes of the rest
            accounts.audit("participant.letters_canceled", subject=str(participant_id), letters_canceled=canceled)
    # Others' letters are searched before anything is locked: it takes a while where there are many.
    person, begun = participants.get(participant_id), db.now()
    mentions = outbox.mentions_of(person.campaign_id, person.email)
    with db.transaction():
        campaigns.lock_crowd(person.campaign_id, shared=False)
        # Files first, then actions: an import or an action that goes on locks people or letters after itself.
        participants.forget_files(person.campaign_id)
        person = participants.lock(participant_id)
        deliveries.forget_in_filters(person.email, campaign_id=person.campaign_id)
        canceled += outbox.cancel_for(person.id)
        outbox.forget_recipient(person.id)
        outbox.forget_mentions(mentions, person.email)
        # Those that were made meanwhile, and those that somebody was sending again until the others could be changed.
        while mentions := outbox.mentions_of(person.campaign_id, person.email, since=begun - _MEANWHILE):
            outbox.forget_mentions(mentions, person.email)
        events.forget(person.campaign_id, person.email)
        accounts.lock()  # before lines of its log, as whoever removes one of the account's people does
        accounts.forget_in_log(person.email)
        blasts.forget_in_audiences(person.email, campaign_id=person.campaign_id)
        servers.forget_in_errors(person.email)
        participants.remove(person)
        _forget_if_last(person.email)
        accounts.audit("participant.deleted", subject=str(participant_id), letters_canceled=canceled)
    return canceled


def _forget_if_last(address: str) -> None:
    """What other campaigns' blasts are for, and what was filtered by beyond the campaign, means their people of that
    address while there are any."""
    # The account is locked: of two who delete the last two of an address at once, the second sees that it is the last.
    if not participants.is_anywhere(address):
        deliveries.forget_in_filters(address)
        blasts.forget_in_audiences(address)
