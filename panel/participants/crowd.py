"""People of a campaign to whom something happens: read and locked at once, changed in memory, written at once.

What may be refused is refused before anything is changed, so that of many reports in one transaction each stands for
itself.
"""

from __future__ import annotations

import secrets
import uuid
from base64 import b32encode
from collections.abc import Collection, Mapping
from typing import Final

from sqlalchemy import ColumnElement, select

from panel import db
from panel.participants.models import Participant

# Crockford's alphabet: nothing in it is mistaken for something else when read aloud or typed from paper.
_ALPHABET: Final = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", "0123456789ABCDEFGHJKMNPQRSTVWXYZ")
_CODE_OCTETS: Final = 5  # eight characters
_LONGEST_NAME: Final = 100


class ReferralRefused(ValueError):
    """This referral cannot be; the text says why, in plain words."""


class AlreadyReferred(ReferralRefused):
    """Another referrer was first."""


class SelfReferral(ReferralRefused):
    """Nobody can refer themselves."""


class NotReferred(ReferralRefused):
    """Nobody referred this person, so there is no referral to qualify or deny."""


class Crowd:
    """The people with these (normalised) addresses, by campaign, and those who referred them. In a transaction.

    They are locked, so that nobody else changes them before its end. Who is new may be added by another at the same
    time: then writing raises IntegrityError, and all of it is to be done again.
    """

    def __init__(self, addresses: Mapping[uuid.UUID, Collection[str]]) -> None:
        self._by_address: dict[tuple[uuid.UUID, str], Participant] = {}
        self._by_id: dict[uuid.UUID, Participant] = {}
        for campaign_id, some in addresses.items():
            self._read(Participant.campaign_id == campaign_id, Participant.email.in_(some))
        referrers = {one.referred_by for one in self._by_id.values()} - self._by_id.keys() - {None}
        if referrers:
            self._read(Participant.id.in_(referrers))

    def _read(self, *which: ColumnElement[bool]) -> None:
        # In the order of their keys, so that two who want the same people do not wait for each other for ever.
        wanted = select(Participant).where(*which).order_by(Participant.id).with_for_update(key_share=True)
        for person in db.session().scalars(wanted.execution_options(populate_existing=True)):
            self._know(person)

    def _know(self, person: Participant) -> None:
        self._by_id[person.id] = person
        self._by_address[person.campaign_id, person.email] = person

    def find(self, campaign_id: uuid.UUID, address: str) -> Participant | None:
        """The person with that address in the campaign."""
        return self._by_address.get((campaign_id, address))

    def referrer(
        self, campaign_id: uuid.UUID, address: str, first_name: str = "", last_name: str = ""
    ) -> tuple[Participant, bool]:
        """The person as a referrer of the campaign, and whether they have become one only now.

        A name that is known is kept; one that is missing is filled in.
        """
        person = self._ensure(campaign_id, address, first_name, last_name)
        new = person.joined_at is None
        if new:
            person.joined_at = db.now()
        return person, new

    def check_friend(self, campaign_id: uuid.UUID, referrer: str, friend: str) -> None:
        """Raises SelfReferral or AlreadyReferred if the one address cannot be a friend of the other."""
        if friend == referrer:
            raise SelfReferral("Nobody can refer themselves: the friend is the referrer.")
        known, by = self.find(campaign_id, friend), self.find(campaign_id, referrer)
        if known is not None and known.referred_by is not None and (by is None or known.referred_by != by.id):
            raise AlreadyReferred("Somebody else has referred this friend already.")

    def friend(
        self, campaign_id: uuid.UUID, referrer: Participant, address: str, first_name: str = "", last_name: str = ""
    ) -> tuple[Participant, bool]:
        """The person as a friend of `referrer`, and whether they have become one only now.

        Raises as `check_friend` does.
        """
        self.check_friend(campaign_id, referrer.email, address)
        if referrer in db.session().new and self.find(campaign_id, address) is not None:
            db.session().flush()  # whoever was there before would be written first, pointing to nobody
        friend = self._ensure(campaign_id, address, first_name, last_name)
        new = friend.referred_by is None
        if new:
            friend.referred_by, friend.referral_state, friend.referred_at = referrer.id, "created", db.now()
            self._by_id.get(referrer.id, referrer).referral_count += 1
        return friend, new

    def referrer_of(self, friend: Participant) -> Participant | None:
        """Who referred this person."""
        return self._by_id.get(friend.referred_by) if friend.referred_by else None

    def qualify(self, friend: Participant) -> bool:
        """Marks the referral of this friend as qualified; False if it is already. Raises NotReferred."""
        referrer = self._their_referrer(friend)
        if friend.referral_state == "qualified":
            return False
        friend.referral_state = "qualified"
        referrer.qualified_count += 1
        return True

    def deny(self, friend: Participant) -> bool:
        """Marks the referral of this friend as denied; False if it is already. Raises NotReferred."""
        referrer = self._their_referrer(friend)
        if friend.referral_state == "denied":
            return False
        if friend.referral_state == "qualified":
            referrer.qualified_count -= 1
        friend.referral_state = "denied"
        return True

    def _their_referrer(self, friend: Participant) -> Participant:
        referrer = self.referrer_of(friend)
        if referrer is None:
            raise NotReferred("Nobody referred this person in this campaign.")
        return referrer

    def _ensure(self, campaign_id: uuid.UUID, address: str, first_name: str, last_name: str) -> Participant:
        names = {"first_name": first_name.strip()[:_LONGEST_NAME], "last_name": last_name.strip()[:_LONGEST_NAME]}
        person = self.find(campaign_id, address)
        if person is not None:
            for name, value in names.items():
                if value and not getattr(person, name):
                    setattr(person, name, value)
            return person
        person = Participant(
            id=uuid.uuid4(),
            account_id=db.account_id(),
            campaign_id=campaign_id,
            email=address,
            referral_code=new_code(),
            referral_count=0,
            qualified_count=0,
            **names,
        )
        db.session().add(person)
        self._know(person)
        return person


def new_code() -> str:
    """A referral code that nobody has, but for a chance so small that trying again is enough."""
    return b32encode(secrets.token_bytes(_CODE_OCTETS)).decode().translate(_ALPHABET)
