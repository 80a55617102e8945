"""The rows of a blast, selected from its campaign's participants: whom it goes to, and what their letters say."""

from __future__ import annotations

import uuid
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from flask import current_app
from sqlalchemy import ColumnElement, Select, String, Uuid, cast, func, literal, select

from panel import db
from panel.accounts import service as accounts
from panel.blasts.audience import Audience
from panel.campaigns import service as campaigns
from panel.config import Settings
from panel.message.tags import LINKS
from panel.participants import service as participants
from panel.participants.service import Participant
from panel.sqlfunctions import json_object
from panel.suppressions import service as suppressions


@dataclass(frozen=True, slots=True)
class Reach:
    """How many people a blast goes to, and how many of its audience must not be mailed."""

    recipients: int
    left_out: int


def reach(campaign_id: uuid.UUID, audience: Audience) -> Reach:
    """As it would be now."""
    mailed = _count([*_selected(campaign_id, audience), *_may_be_mailed(campaign_id)])
    return Reach(recipients=mailed, left_out=max(0, wanted(campaign_id, audience) - mailed))


def wanted(campaign_id: uuid.UUID, audience: Audience) -> int:
    """How many people the audience is, whether or not they may be mailed."""
    return _count(_selected(campaign_id, audience))


def _count(conditions: Collection[ColumnElement[bool]]) -> int:
    return db.session().scalar(select(func.count()).select_from(Participant).where(*conditions)) or 0


def _selected(campaign_id: uuid.UUID, audience: Audience) -> list[ColumnElement[bool]]:
    return participants.selected(campaign_id, audience.selection(accounts.zone()))


def _may_be_mailed(campaign_id: uuid.UUID) -> list[ColumnElement[bool]]:
    campaign = literal(campaign_id, Uuid(as_uuid=True))
    suppressed = suppressions.stands_against(Participant.account_id, Participant.email, campaign)
    return [Participant.unsubscribed_at.is_(None), ~suppressed]


def rows(campaign: campaigns.Campaign, audience: Audience, tags_used: Collection[str]) -> Select[Any]:
    """Selects `participant_id`, `to_address` and `values` for each recipient, in the order of their addresses.

    The values hold what these words need and no more. Links that are signed are left to who makes the letter. In this
    order the index of addresses grows at one end after the other, which saves a third of the time.
    """
    return (
        select(
            Participant.id.label("participant_id"),
            Participant.email.label("to_address"),
            _values(campaign, tags_used).label("values"),
        )
        .where(*_selected(campaign.id, audience), *_may_be_mailed(campaign.id))
        .order_by(Participant.email)
    )


def _values(campaign: campaigns.Campaign, tags_used: Collection[str]) -> ColumnElement[Any]:
    known = _tags(campaign)
    settings: Settings = current_app.extensions["ownpost"]
    footer = {"company_name": campaign.company_name, "postal_address": accounts.current().postal_address}
    name = func.nullif(func.trim(Participant.first_name + " " + Participant.last_name), "", type_=String())
    return json_object(
        {
            "tags": json_object({tag: known[tag] for tag in sorted(set(tags_used) - LINKS)}),
            "to_name": name,
            "footer": json_object(footer),
            "links": settings.public_url,
        }
    )


def _tags(campaign: campaigns.Campaign) -> dict[str, Any]:
    """What each merge tag is: the same text for all, or an expression."""
    person = {
        "first_name": Participant.first_name,
        "last_name": Participant.last_name,
        "email": Participant.email,
    }
    code = Participant.referral_code
    portal = campaigns.portal_link(campaign, "")
    return {
        **{f"{group}.{name}": person[name] for group in ("recipient", "referrer", "friend") for name in person},
        **campaigns.campaign_values(campaign),
        "referrer.referral_code": code,
        # A personal link ends with its code.
        "referrer.referral_link": campaigns.referral_link(campaign, "") + code,
        "referrer.portal_link": portal + code if portal else "",
        "referrer.referral_count": cast(Participant.referral_count, String()),
        "referrer.qualified_count": cast(Participant.qualified_count, String()),
    }
