"""Who an event is about: finds them, adds who is new, and moves the referral on."""

from __future__ import annotations

from dataclasses import dataclass

from panel.campaigns.service import Campaign
from panel.events.problems import refused
from panel.events.reading import Person, Report
from panel.participants import service as participants
from panel.participants.service import Participant


@dataclass(frozen=True, slots=True)
class Involved:
    """The people of an event."""

    referrer: Participant | None
    friend: Participant | None


def involve(campaign: Campaign, report: Report) -> Involved:
    """Finds or adds the people of a report and does to their referral what it says. In a transaction.

    A report that names referrer and friend says that the one referred the other, so both may be new. One that names
    the friend alone is about a referral that is known. Raises Refused.
    """
    referrer = _referrer(campaign, report.referrer) if report.referrer else None
    friend = _friend(campaign, referrer, report.friend) if report.friend else None
    if friend is not None and referrer is None:
        referrer = participants.referrer_of(friend)
    if friend is not None and report.type == "referral.qualified":
        participants.qualify(friend)
    if friend is not None and report.type == "referral.denied":
        participants.deny(friend)
    return Involved(referrer=referrer, friend=friend)


def _referrer(campaign: Campaign, person: Person) -> Participant:
    found, _ = participants.ensure_referrer(campaign.id, person.email, person.first_name, person.last_name)
    return found


def _friend(campaign: Campaign, referrer: Participant | None, person: Person) -> Participant:
    if referrer is None:
        known = participants.find(campaign.id, person.email)
        if known is None or known.referred_by is None:
            raise refused(404, "/friend/email", "Nobody with this address was referred in this campaign.")
        return known
    try:
        found, _ = participants.ensure_friend(campaign.id, referrer, person.email, person.first_name, person.last_name)
    except participants.ReferralRefused as error:
        raise refused(422, "/friend/email", str(error)) from None
    return found
