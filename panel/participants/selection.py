"""Some of a campaign's participants, as a condition: for who writes to many of them in one statement."""

from __future__ import annotations

import datetime as dt
import uuid
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import ColumnElement

from panel.participants.listing import matching
from panel.participants.models import Participant

Who = Literal["all", "referrers", "friends"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Whom is meant. `since` and `before` are about when they were added; the referrals are those they have made."""

    who: Who = "all"
    since: dt.datetime | None = None
    before: dt.datetime | None = None
    fewest_referrals: int | None = None
    most_referrals: int | None = None
    search: str = ""


def selected(campaign_id: uuid.UUID, wanted: Selection) -> list[ColumnElement[bool]]:
    """The conditions that hold for those participants of the campaign, whether or not they want to be written to."""
    conditions: list[ColumnElement[bool]] = [Participant.campaign_id == campaign_id, *matching(wanted.search)]
    if wanted.who == "referrers":
        conditions.append(Participant.joined_at.is_not(None))
    elif wanted.who == "friends":
        conditions.append(Participant.referred_by.is_not(None))
    if wanted.since is not None:
        conditions.append(Participant.made_at >= wanted.since)
    if wanted.before is not None:
        conditions.append(Participant.made_at < wanted.before)
    if wanted.fewest_referrals is not None:
        conditions.append(Participant.referral_count >= wanted.fewest_referrals)
    if wanted.most_referrals is not None:
        conditions.append(Participant.referral_count <= wanted.most_referrals)
    return conditions
