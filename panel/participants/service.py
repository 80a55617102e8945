"""People in a campaign: who refers, who was referred, and how it went."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Mapping
from typing import Final, TypeVar

from sqlalchemy import delete, select, update
from sqlalchemy.exc import IntegrityError

from panel import db
from panel.accounts import service as accounts
from panel.campaigns import service as campaigns
from panel.campaigns.service import Campaign
from panel.message.addresses import normalise
from panel.participants import importing
from panel.participants.crowd import AlreadyReferred, Crowd, NotReferred, ReferralRefused, SelfReferral
from panel.participants.links import find_by_token, preferences_url, token_of, unsubscribe_token, unsubscribe_url
from panel.participants.listing import Line, Page, count, page
from panel.participants.models import Participant
from panel.participants.selection import Selection, selected

__all__ = [
    "AlreadyReferred",
    "Crowd",
    "Line",
    "NotReferred",
    "Page",
    "Participant",
    "ReferralRefused",
    "Selection",
    "SelfReferral",
    "count",
    "find_by_token",
    "forget_files",
    "page",
    "preferences_url",
    "selected",
    "tick",
    "token_of",
    "unsubscribe_token",
    "unsubscribe_url",
]

forget_files = importing.forget
tick = importing.tick

ResultT = TypeVar("ResultT")

_TRIES: Final = 5  # of two who add the same person at once, one finds at the second try what the other wrote


def get(participant_id: uuid.UUID) -> Participant:
    """One participant of this account. Raises NotFound."""
    return db.owned(Participant, participant_id)


def find(campaign_id: uuid.UUID, email: str) -> Participant | None:
    """The person with that address in the campaign. Raises InvalidAddress."""
    return _find(campaign_id, normalise(email))


def _find(campaign_id: uuid.UUID, address: str) -> Participant | None:
    wanted = select(Participant).where(Participant.campaign_id == campaign_id, Participant.email == address)
    return db.session().scalar(wanted.execution_options(populate_existing=True))


def ensure_referrer(
    campaign_id: uuid.UUID, email: str, first_name: str = "", last_name: str = ""
) -> tuple[Participant, bool]:
    """The person as a referrer of the campaign, and whether they have become one only now. Raises InvalidAddress.

    A name that is known is kept; one that is missing is filled in.
    """
    address = normalise(email)
    return _written({campaign_id: [address]}, lambda crowd: crowd.referrer(campaign_id, address, first_name, last_name))


def add_by_hand(campaign_id: uuid.UUID, email: str, first_name: str, last_name: str) -> tuple[Participant, bool]:
    """As `ensure_referrer`, by a person's hand. Raises InvalidAddress."""
    with db.transaction():
        person, is_new = ensure_referrer(campaign_id, email, first_name, last_name)
        # By its id: the audit log outlives the people in it.
        accounts.audit("participant.added", subject=str(person.id), new=is_new)
    return person, is_new


def ensure_friend(
    campaign_id: uuid.UUID, referrer: Participant, email: str, first_name: str = "", last_name: str = ""
) -> tuple[Participant, bool]:
    """The person as a friend of `referrer`, and whether they have become one only now.

    Raises InvalidAddress, SelfReferral, and AlreadyReferred when another referrer was first.
    """
    address = normalise(email)
    return _written(
        {campaign_id: [referrer.email, address]},
        lambda crowd: crowd.friend(campaign_id, referrer, address, first_name, last_name),
    )


def qualify(friend: Participant) -> bool:
    """Marks the referral of this friend as qualified; False if it is already. Raises NotReferred."""
    return _written({friend.campaign_id: [friend.email]}, lambda crowd: crowd.qualify(friend))


def deny(friend: Participant) -> bool:
    """Marks the referral of this friend as denied; False if it is already. Raises NotReferred."""
    return _written({friend.campaign_id: [friend.email]}, lambda crowd: crowd.deny(friend))


def _written(people: Mapping[uuid.UUID, Collection[str]], happens: Callable[[Crowd], ResultT]) -> ResultT:
    """Lets something happen to people, in a transaction; again if somebody else added one of them meanwhile."""
    with db.transaction() as session:
        for _ in range(_TRIES - 1):
            try:
                with session.begin_nested():
                    return happens(Crowd(people))
            except IntegrityError:
                continue
        return happens(Crowd(people))


def referral_link(campaign: Campaign, participant: Participant) -> str:
    """The link that this participant shares."""
    return campaigns.referral_link(campaign, participant.referral_code)


def merge_values(campaign: Campaign, participant: Participant, *, prefix: str) -> dict[str, str]:
    """The values of the tags under `referrer.` or `friend.` (the prefix) for this participant of the campaign."""
    values = {
        f"{prefix}.first_name": participant.first_name,
        f"{prefix}.last_name": participant.last_name,
        f"{prefix}.email": participant.email,
    }
    if prefix != "referrer":
        return values
    return {
        **values,
        "referrer.referral_link": referral_link(campaign, participant),
        "referrer.referral_code": participant.referral_code,
        "referrer.portal_link": campaigns.portal_link(campaign, participant.referral_code),
        "referrer.referral_count": str(participant.referral_count),
        "referrer.qualified_count": str(participant.qualified_count),
    }


def remove(participant: Participant) -> None:
    """Deletes the person's row, in the current transaction. Friends whom they referred stay, referred by nobody.

    What others have earned by referring them stays counted: it happened. Files that wait to be imported go: the person
    may be in one.
    """
    session = db.session()
    referred = update(Participant).where(Participant.referred_by == participant.id).values(referred_by=None)
    session.execute(referred.execution_options(synchronize_session=False))
    session.execute(delete(Participant).where(Participant.id == participant.id))
    importing.forget(participant.campaign_id)


def is_anywhere(address: str) -> bool:
    """Whether a campaign of this account has somebody of that address."""
    everywhere = [one.id for one in campaigns.campaigns()]  # by campaign, as the index has it
    wanted = select(Participant.id).where(Participant.campaign_id.in_(everywhere), Participant.email == address)
    return db.session().scalar(wanted.limit(1)) is not None


def lock(participant_id: uuid.UUID) -> Participant:
    """One participant of this account, whom nobody else changes until the transaction ends. Raises NotFound."""
    wanted = select(Participant).where(Participant.id == participant_id).with_for_update()
    found = db.session().scalar(wanted.execution_options(populate_existing=True))
    if found is None:
        raise db.NotFound("no such Participant")
    return found
