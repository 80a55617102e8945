"""From an event to its deliveries: who gets which notification, in the event's own transaction."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from flask import current_app

from panel import db
from panel.accounts import service as accounts
from panel.addresses import service as addresses
from panel.campaigns import service as campaigns
from panel.campaigns.kinds import NotificationKind, kinds_for_event
from panel.config import Settings
from panel.deliveries.letters import letter_values
from panel.outbox import service as outbox
from panel.outbox.service import Delivery, Order
from panel.participants import service as participants
from panel.suppressions import service as suppressions


@dataclass(frozen=True, slots=True, kw_only=True)
class Happening:
    """An event, with the people in it."""

    event_id: uuid.UUID
    event_type: str
    campaign: campaigns.Campaign
    referrer: participants.Participant | None = None
    friend: participants.Participant | None = None
    reward: Mapping[str, Any] | None = None
    denial: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class _Recipient:
    address: str
    participant: participants.Participant | None


class Desk:
    """What making deliveries needs to know of an account, read once for all the events of a transaction.

    `expected` are the (normalised) addresses that may get letters, by campaign: they are looked up at once.
    """

    def __init__(self, expected: Mapping[uuid.UUID, Collection[str]] | None = None) -> None:
        self._expected = expected or {}
        self._notifications: dict[uuid.UUID, list[campaigns.Notification]] = {}
        self._suppressed: dict[uuid.UUID, dict[str, str]] = {}
        self._domains: dict[uuid.UUID | None, str] = {}
        self._owners: list[accounts.User] | None = None

    def notifications(self, campaign_id: uuid.UUID) -> list[campaigns.Notification]:
        """Those of a campaign."""
        if campaign_id not in self._notifications:
            self._notifications[campaign_id] = campaigns.notifications(campaign_id)
        return self._notifications[campaign_id]

    def kinds(self, campaign_id: uuid.UUID) -> dict[uuid.UUID, str]:
        """The kinds of a campaign's notifications."""
        return {one.id: one.kind for one in self.notifications(campaign_id)}

    def owners(self) -> list[accounts.User]:
        """The people of the account who are told."""
        if self._owners is None:
            self._owners = accounts.owners()
        return self._owners

    def suppressed(self, address: str, campaign_id: uuid.UUID) -> str | None:
        """Why the campaign must not mail the address; None when it may."""
        expected = self._expected.get(campaign_id, ())
        if address not in expected:
            return suppressions.is_suppressed(address, campaign_id)
        if campaign_id not in self._suppressed:
            self._suppressed[campaign_id] = suppressions.suppressed_among(expected, campaign_id)
        return self._suppressed[campaign_id].get(address)

    def domain(self, address_id: uuid.UUID | None) -> str:
        """The domain of the From."""
        if address_id not in self._domains:
            self._domains[address_id] = from_domain(address_id)
        return self._domains[address_id]


def queue_for(happening: Happening) -> list[Delivery]:
    """Makes the deliveries that an event causes, in the current transaction; `canceled` ones say why."""
    return outbox.put_each(orders_for(happening, Desk()))


def orders_for(happening: Happening, desk: Desk) -> list[Order]:
    """The deliveries that an event causes, to be put into the outbox in its transaction; `canceled` ones say why.

    Raises NotFound when the campaign's notifications are gone, as while its account is being deleted.
    """
    tags = _tags(happening)
    notifications = {one.kind: one for one in desk.notifications(happening.campaign.id)}
    if not notifications.keys() >= {kind.key for kind in kinds_for_event(happening.event_type)}:
        raise db.NotFound("no such Notification")
    return [
        _order(happening, notifications[kind.key], recipient, tags, desk)
        for kind in kinds_for_event(happening.event_type)
        for recipient in _recipients(happening, kind, desk)
    ]


def _recipients(happening: Happening, kind: NotificationKind, desk: Desk) -> Iterator[_Recipient]:
    if kind.recipient == "owner":
        for user in desk.owners():
            yield _Recipient(user.email, None)
        return
    if happening.reward is not None and happening.reward.get("to") != kind.recipient:
        return
    person = happening.referrer if kind.recipient == "referrer" else happening.friend
    if person is not None:
        yield _Recipient(person.email, person)


def _order(
    happening: Happening, notification: campaigns.Notification, to: _Recipient, tags: Mapping[str, str], desk: Desk
) -> Order:
    campaign = happening.campaign
    canceled = None if notification.enabled else "notification_disabled"
    values = letter_values(dict(tags))
    if to.participant is not None:
        reason = desk.suppressed(to.address, campaign.id)
        canceled = canceled or (f"suppressed_{reason}" if reason else None)
        values = _participant_values(campaign, to.participant, tags)
    return Order(
        kind="notification",
        to_address=to.address,
        from_domain=desk.domain(campaign.address_id),
        values=values,
        campaign_id=campaign.id,
        address_id=campaign.address_id,
        notification_id=notification.id,
        notification_version_id=notification.current_version_id,
        event_id=happening.event_id,
        participant_id=to.participant.id if to.participant else None,
        expires_after=notification.expires_after,
        canceled_because=canceled,
    )


def _participant_values(
    campaign: campaigns.Campaign, person: participants.Participant, tags: Mapping[str, str]
) -> dict[str, Any]:
    token = participants.unsubscribe_token(person)
    base = _settings().public_url
    links = {"unsubscribe_url": f"{base}/u/{token}", "preferences_url": f"{base}/p/{token}"}
    return letter_values(
        {**tags, **links},
        to_name=f"{person.first_name} {person.last_name}".strip() or None,
        postal_address=accounts.current().postal_address,
        company_name=campaign.company_name,
        unsubscribe_url=links["unsubscribe_url"],
    )


def _tags(happening: Happening) -> dict[str, str]:
    campaign = happening.campaign
    tags = {"campaign.name": campaign.name, "company.name": campaign.company_name}
    if happening.referrer is not None:
        tags |= participants.merge_values(campaign, happening.referrer, prefix="referrer")
    if happening.friend is not None:
        tags |= participants.merge_values(campaign, happening.friend, prefix="friend")
    for group, given in (("reward", happening.reward), ("denial", happening.denial)):
        tags |= {f"{group}.{name}": str(value) for name, value in (given or {}).items() if value is not None}
    return tags


def from_domain(address_id: uuid.UUID | None) -> str:
    """The domain of the From, for the Message-ID: fixed when the delivery is made."""
    # An address that is removed at this moment leaves its letters to the default one.
    address = (addresses.find(address_id) if address_id else None) or addresses.default()
    return address.domain if address else _settings().platform_from.address.rpartition("@")[2]


def _settings() -> Settings:
    settings: Settings = current_app.extensions["ownpost"]
    return settings
