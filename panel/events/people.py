"""Who an event is about: finds them, adds who is new, and moves the referral on."""

from __future__ import annotations

from dataclasses import dataclass

from panel.campaigns.service import Campaign
from panel.events.problems import refused
from panel.events.reading import Report
from panel.participants import service as participants
from panel.participants.service import Crowd, Participant


@dataclass(frozen=True, slots=True)
class Involved:
    """The people of an event."""

    referrer: Participant | None
    friend: Participant | None


def addresses_of(report: Report) -> list[str]:
    """The people whom a report names."""
    return [person.email for person in (report.referrer, report.friend) if person is not None]


def involve(crowd: Crowd, campaign: Campaign, report: Report) -> Involved:
    """Finds or adds the people of a report and does to their referral what it says. In a transaction.

    A report that names referrer and friend says that the one referred the other, so both may be new. One that names
    the friend alone is about a referral that is known. Raises Refused, and then nothing was changed.
    """
    _check(crowd, campaign, report)
    referrer = friend = None
    if (person := report.referrer) is not None:
        referrer, _ = crowd.referrer(campaign.id, person.email, person.first_name, person.last_name)
    if (person := report.friend) is not None:
        friend = crowd.find(campaign.id, person.email)
        if referrer is not None:
            friend, _ = crowd.friend(campaign.id, referrer, person.email, person.first_name, person.last_name)
    if friend is not None:
        referrer = referrer or crowd.referrer_of(friend)
        if report.type == "referral.qualified":
            crowd.qualify(friend)
        if report.type == "referral.denied":
            crowd.deny(friend)
    return Involved(referrer=referrer, friend=friend)


def _check(crowd: Crowd, campaign: Campaign, report: Report) -> None:
    if report.friend is None:
        return
    if report.referrer is None:
        known = crowd.find(campaign.id, report.friend.email)
        if known is None or known.referred_by is None:
            raise refused(404, "/friend/email", "Nobody with this address was referred in this campaign.")
        return
    try:
        crowd.check_friend(campaign.id, report.referrer.email, report.friend.email)
    except participants.ReferralRefused as error:
        raise refused(422, "/friend/email", str(error)) from None
