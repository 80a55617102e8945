"""Campaigns: the referral programs of an account, and (from `notifications`) what they say in which email."""

from __future__ import annotations

import re
import unicodedata
import uuid
from dataclasses import dataclass
from typing import Final

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from panel import db
from panel.accounts import service as accounts
from panel.campaigns.kinds import KINDS, NotificationKind, kinds_for_event
from panel.campaigns.models import Campaign, Notification, NotificationVersion
from panel.campaigns.notifications import (
    Listed,
    add_all,
    compiled,
    current_version,
    get_notification,
    get_version,
    kinds_of,
    listed,
    notification_of,
    notifications,
    overview,
    restore,
    save_version,
    subjects_of,
    switch,
    versions,
)
from panel.campaigns.senders import senders
from panel.campaigns.wordings import keep_words
from panel.message.tags import sample_values
from panel.outbox import service as outbox

__all__ = [
    "KINDS",
    "Campaign",
    "Listed",
    "Notification",
    "NotificationKind",
    "NotificationVersion",
    "compiled",
    "current_version",
    "get_notification",
    "get_version",
    "keep_words",
    "kinds_for_event",
    "kinds_of",
    "listed",
    "notification_of",
    "notifications",
    "overview",
    "restore",
    "save_version",
    "senders",
    "subjects_of",
    "switch",
    "versions",
]

_MAX_SLUG: Final = 63
_TRIES: Final = 5
_SAMPLE_CODE: Final = "ROBIN42"


@dataclass(frozen=True, slots=True, kw_only=True)
class Details:
    """What a person says about a campaign. `address_id` None: the account's default outbound address."""

    name: str
    company_name: str
    referral_url: str
    portal_url: str = ""
    address_id: uuid.UUID | None = None


def campaigns() -> list[Campaign]:
    """This account's campaigns, newest first."""
    return list(db.session().scalars(select(Campaign).order_by(Campaign.made_at.desc(), Campaign.id)))


def get(campaign_id: uuid.UUID) -> Campaign:
    """One campaign of this account. Raises NotFound."""
    return db.owned(Campaign, campaign_id)


def lock_crowd(campaign_id: uuid.UUID, *, shared: bool) -> None:
    """Holds who is in a campaign until the transaction ends: shared by those who write to all of them, alone for who
    takes somebody out. So nobody who is being deleted gets a letter, or has it already. Raises NotFound."""
    # Not as strongly as a change of its key would: rows that point to the campaign go on coming in.
    wanted = select(Campaign.id).where(Campaign.id == campaign_id)
    held = wanted.with_for_update(read=True) if shared else wanted.with_for_update(key_share=True)
    if db.session().scalar(held) is None:
        raise db.NotFound("no such Campaign")


def by_slug(slug: str) -> Campaign | None:
    """The campaign that the API calls by this name."""
    return db.session().scalar(select(Campaign).where(Campaign.slug == slug))


def create(details: Details, *, slug: str | None = None) -> Campaign:
    """Adds a campaign with all its notifications. Its slug is made from its name unless given, and is never changed."""
    wanted = slug or slug_of(details.name)
    for _ in range(_TRIES - 1):
        try:
            return _create(details, wanted)
        except IntegrityError:
            continue  # another campaign took the slug between the look and the insert
    return _create(details, wanted)


def _create(details: Details, wanted: str) -> Campaign:
    with db.transaction() as session:
        campaign = Campaign(
            id=uuid.uuid4(),
            slug=_free(wanted),
            name=details.name,
            company_name=details.company_name,
            referral_url=details.referral_url,
            portal_url=details.portal_url,
            address_id=details.address_id,
        )
        session.add(campaign)
        session.flush()
        add_all(campaign.id)
        accounts.audit("campaign.added", subject=campaign.name)
    return campaign


def slug_of(name: str) -> str:
    """A name as the API's callers write it: lower-case ASCII letters, digits and hyphens."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:_MAX_SLUG].rstrip("-") or "campaign"


def _free(wanted: str) -> str:
    """The wanted slug or, if it is taken, the first free one of wanted-2, wanted-3 …"""
    stem = wanted[: _MAX_SLUG - 6]
    taken = set(db.session().scalars(select(Campaign.slug).where(Campaign.slug.startswith(stem, autoescape=True))))
    if wanted not in taken:
        return wanted
    return next(slug for slug in (f"{stem}-{number}" for number in range(2, len(taken) + 3)) if slug not in taken)


def edit(campaign_id: uuid.UUID, details: Details) -> Campaign:
    """Changes a campaign. Letters that wait take the route of its new address. Raises NotFound."""
    with db.transaction() as session:
        campaign = get(campaign_id)
        if campaign.address_id != details.address_id:
            outbox.readdress(campaign_id, details.address_id)
        fields = ("name", "company_name", "referral_url", "portal_url", "address_id")
        changed = [name for name in fields if getattr(campaign, name) != getattr(details, name)]
        campaign.name = details.name
        campaign.company_name = details.company_name
        campaign.referral_url = details.referral_url
        campaign.portal_url = details.portal_url
        campaign.address_id = details.address_id
        session.flush()
        accounts.audit("campaign.edited", subject=campaign.name, changed=changed)
    return campaign


def referral_link(campaign: Campaign, code: str) -> str:
    """The personal link that a referrer shares."""
    return _with_code(campaign.referral_url, code)


def portal_link(campaign: Campaign, code: str) -> str:
    """The page where a referrer follows their referrals; empty when the campaign has none."""
    return _with_code(campaign.portal_url, code) if campaign.portal_url else ""


def _with_code(url: str, code: str) -> str:
    """Puts the code at the end of `…/r/` or `…?ref=`; any other address gets a `ref` parameter."""
    if url.endswith(("/", "=")):
        return url + code
    return f"{url}{'&' if '?' in url else '?'}ref={code}"


def campaign_values(campaign: Campaign) -> dict[str, str]:
    """The merge values that are the same for everybody in the campaign."""
    return {"campaign.name": campaign.name, "company.name": campaign.company_name}


def sample(campaign: Campaign) -> dict[str, str]:
    """Merge values of a made-up participant of this campaign, for previews and test sends."""
    return sample_values(
        {
            **campaign_values(campaign),
            "referrer.referral_code": _SAMPLE_CODE,
            "referrer.referral_link": referral_link(campaign, _SAMPLE_CODE),
            "referrer.portal_link": portal_link(campaign, _SAMPLE_CODE),
        }
    )
