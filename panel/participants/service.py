"""People in a campaign: who refers, who was referred, and how it went."""

from __future__ import annotations

import secrets
import uuid
from typing import Final

from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import InstrumentedAttribute

from panel import db
from panel.campaigns import service as campaigns
from panel.campaigns.service import Campaign
from panel.message.addresses import normalise
from panel.participants.links import find_by_token, preferences_url, token_of, unsubscribe_token, unsubscribe_url
from panel.participants.listing import Line, Page, count, page
from panel.participants.models import Participant
from panel.participants.selection import Selection, selected

__all__ = [
    "Line",
    "Page",
    "Participant",
    "Selection",
    "count",
    "find_by_token",
    "page",
    "preferences_url",
    "selected",
    "token_of",
    "unsubscribe_token",
    "unsubscribe_url",
]

# Crockford's alphabet: nothing in it is mistaken for something else when read aloud or typed from paper.
_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_CODE_LENGTH: Final = 8


class ReferralRefused(ValueError):
    """This referral cannot be; the text says why, in plain words."""


class AlreadyReferred(ReferralRefused):
    """Another referrer was first."""


class SelfReferral(ReferralRefused):
    """Nobody can refer themselves."""


class NotReferred(ReferralRefused):
    """Nobody referred this person, so there is no referral to qualify or deny."""


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
    with db.transaction() as session:
        person, made = _ensure(campaign_id, email, first_name, last_name)
        joined = session.execute(
            update(Participant)
            .where(Participant.id == person.id, Participant.joined_at.is_(None))
            .values(joined_at=db.now())
        )
        if _changed(joined):
            session.refresh(person)
        return person, made or _changed(joined)


def ensure_friend(
    campaign_id: uuid.UUID, referrer: Participant, email: str, first_name: str = "", last_name: str = ""
) -> tuple[Participant, bool]:
    """The person as a friend of `referrer`, and whether they have become one only now.

    Raises InvalidAddress, SelfReferral, and AlreadyReferred when another referrer was first.
    """
    with db.transaction() as session:
        friend, _ = _ensure(campaign_id, email, first_name, last_name)
        if friend.id == referrer.id:
            raise SelfReferral("Nobody can refer themselves: the friend is the referrer.")
        referred = session.execute(
            update(Participant)
            .where(Participant.id == friend.id, Participant.referred_by.is_(None))
            .values(referred_by=referrer.id, referral_state="created", referred_at=db.now())
        )
        session.refresh(friend)
        if friend.referred_by != referrer.id:
            raise AlreadyReferred("Somebody else has referred this friend already.")
        if _changed(referred):
            _count(referrer.id, Participant.referral_count, 1)
            session.refresh(referrer)
        return friend, _changed(referred)


def qualify(friend: Participant) -> bool:
    """Marks the referral of this friend as qualified; False if it is already. Raises NotReferred."""
    with db.transaction() as session:
        changed = _move(friend, "qualified", "created", "denied")
        if changed:
            _count(_referrer_id(friend), Participant.qualified_count, 1)
        session.refresh(friend)
        return changed


def deny(friend: Participant) -> bool:
    """Marks the referral of this friend as denied; False if it is already. Raises NotReferred."""
    with db.transaction() as session:
        taken_back = _move(friend, "denied", "qualified")
        if taken_back:
            _count(_referrer_id(friend), Participant.qualified_count, -1)
        changed = taken_back or _move(friend, "denied", "created")
        session.refresh(friend)
        return changed


def referrer_of(friend: Participant) -> Participant | None:
    """Who referred this person."""
    return db.owned(Participant, friend.referred_by) if friend.referred_by else None


def _referrer_id(friend: Participant) -> uuid.UUID:
    if friend.referred_by is None:
        raise NotReferred("Nobody referred this person in this campaign.")
    return friend.referred_by


def _move(friend: Participant, state: str, *before: str) -> bool:
    # Only one of several callers at once finds the row in the state that it leaves.
    _referrer_id(friend)
    moved = db.session().execute(
        update(Participant)
        .where(Participant.id == friend.id, Participant.referral_state.in_(before))
        .values(referral_state=state)
    )
    return _changed(moved)


def _count(participant_id: uuid.UUID, column: InstrumentedAttribute[int], by: int) -> None:
    """Adds to a count in the database, so that of two who add at once neither is lost."""
    db.session().execute(
        update(Participant).where(Participant.id == participant_id).values({column: column + by}),
    )


def _changed(result: object) -> bool:
    return bool(getattr(result, "rowcount", 0))


def _ensure(campaign_id: uuid.UUID, email: str, first_name: str, last_name: str) -> tuple[Participant, bool]:
    address = normalise(email)
    names = {"first_name": first_name.strip()[:100], "last_name": last_name.strip()[:100]}
    found = _find(campaign_id, address)
    if found is None:
        try:
            return _insert(campaign_id, address, names), True
        except IntegrityError:
            # Somebody else added the same person since the look; if it was not that, the error stands.
            found = _find(campaign_id, address)
            if found is None:
                raise
    for name, value in names.items():
        if value and not getattr(found, name):
            setattr(found, name, value)
    return found, False


def _insert(campaign_id: uuid.UUID, address: str, names: dict[str, str]) -> Participant:
    session = db.session()
    with session.begin_nested():
        person = Participant(
            id=uuid.uuid4(), campaign_id=campaign_id, email=address, referral_code=_new_code(), **names
        )
        session.add(person)
    return person


def _new_code() -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(_CODE_LENGTH))


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
