"""What a participant wants to receive, as they say it themselves by the links in their letters."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Literal

from panel import db
from panel.campaigns import service as campaigns
from panel.participants import service as participants
from panel.suppressions import service as suppressions

Choice = Literal["campaign", "nothing_of_campaign", "nothing"]


@dataclass(frozen=True, slots=True)
class Reader:
    """A participant as these pages see them, and what they chose."""

    email: str
    campaign: str
    company: str
    choice: Choice


def reader(participant_id: uuid.UUID) -> Reader:
    """Who follows the link. In the scope of the participant's account; raises NotFound."""
    person = participants.get(participant_id)
    campaign = campaigns.get(person.campaign_id)
    return Reader(person.email, campaign.name, campaign.company_name, _choice(person))


def _choice(person: participants.Participant) -> Choice:
    if suppressions.has_unsubscribed(person.email, None):
        return "nothing"
    if suppressions.has_unsubscribed(person.email, person.campaign_id):
        return "nothing_of_campaign"
    return "campaign"


def unsubscribe(participant_id: uuid.UUID, *, by: str) -> None:
    """Stops the campaign's mail. Whoever wants nothing at all goes on getting nothing at all."""
    if reader(participant_id).choice == "campaign":
        choose(participant_id, "nothing_of_campaign", by=by)


def choose(participant_id: uuid.UUID, choice: Choice, *, by: str) -> None:
    """Does what the participant wants, from the next letter on; a second time is fine. `by` says how they told us.

    What the account itself or a bounce has stopped stays stopped.
    """
    with db.transaction():
        person = participants.get(participant_id)
        for campaign_id, stopped in ((person.campaign_id, choice != "campaign"), (None, choice == "nothing")):
            if stopped:
                suppressions.add(person.email, campaign_id=campaign_id, reason=suppressions.UNSUBSCRIBED, source=by)
            else:
                suppressions.lift(person.email, campaign_id=campaign_id)
        if choice == "campaign":
            person.unsubscribed_at = None
        elif person.unsubscribed_at is None:
            person.unsubscribed_at = db.now()
