"""The demo account: a campaign with people in it, and a month of letters behind it. Nothing of it is ever sent."""

from __future__ import annotations

import datetime as dt
import random
import secrets
from typing import Any, Final

from flask import current_app
from flask_security import hash_password

from panel import db, embedded
from panel.accounts import service as accounts
from panel.addresses import service as addresses
from panel.campaigns import service as campaigns
from panel.campaigns.kinds import KINDS
from panel.config import Settings
from panel.deliveries import service as deliveries
from panel.message.letter import new_message_id
from panel.outbox.service import Attempt, Delivery
from panel.participants import service as participants
from panel.suppressions import service as suppressions

ACCOUNT, EMAIL = "Acme Coffee", "owner@acme-coffee.example"
ADDRESS, SLUG = "hello@acme-coffee.example", "spring"
_SERVER: Final = "smtp.acme-coffee.example:587"
_LOGIN: Final = "demo-login.env"

_FIRST: Final = [
    "Amara", "Bjorn", "Chiara", "Dmitri", "Elif", "Farid", "Greta", "Hugo", "Ines", "Jonas",
    "Keiko", "Liam", "Mina", "Noah", "Olga", "Pedro", "Quinn", "Rosa", "Sven", "Tara",
]  # fmt: skip
_LAST: Final = [
    "Okafor", "Lindqvist", "Rossi", "Petrov", "Demir", "Haddad",
    "Keller", "Martin", "Costa", "Weber", "Tanaka", "Byrne",
]  # fmt: skip
_DOMAINS: Final = ("example.com", "example.net", "example.org")
_REFERRERS, _FRIENDS, _DAYS = 14, 26, 30


def add() -> str:
    """Adds it where it is not yet, and says how to sign in. Run twice, it adds nothing."""
    settings: Settings = current_app.extensions["ownpost"]
    password = _password(settings)
    with db.system_scope("the demo account is made"):
        account = accounts.ensure(ACCOUNT)
        if not accounts.has_user(EMAIL):
            accounts.add_user(account_id=account.id, email=EMAIL, password_hash=hash_password(password))
    with db.account_scope(account.id):
        if campaigns.by_slug(SLUG) is None:
            with db.transaction():
                accounts.describe(postal_address="Acme Coffee, 1 Roastery Lane, 12345 Springfield")
                _fill()
    return f"Sign in as {EMAIL}\nPassword: {password}"


def _password(settings: Settings) -> str:
    # Kept beside the keys, readable by nobody else, so that every start can show it again.
    path = settings.data_dir / _LOGIN
    found = embedded.read_env(path).get("PASSWORD")
    if found is None:
        found = "-".join(secrets.token_hex(2) for _ in range(4))
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        embedded.write_env(path, {"EMAIL": EMAIL, "PASSWORD": found})
    return found


def _fill() -> None:
    chance = random.Random("Acme Coffee")  # noqa: S311 - the same demo for everybody
    addresses.add_confirmed(email=ADDRESS, display_name="Acme Coffee")
    campaign = campaigns.create(
        campaigns.Details(
            name="Spring referrals",
            company_name="Acme Coffee",
            referral_url="https://acme-coffee.example/invite",
            portal_url="https://acme-coffee.example/friends",
        ),
        slug=SLUG,
    )
    names = [(first, last) for first in _FIRST for last in _LAST]
    chance.shuffle(names)
    people = [_address(first, last, chance) for first, last in names[: _REFERRERS + _FRIENDS]]
    referrers = [
        participants.ensure_referrer(campaign.id, address, first, last)[0]
        for address, first, last in people[:_REFERRERS]
    ]
    suppressions.add(referrers[3].email, campaign_id=campaign.id, reason="unsubscribed", source="the link in a letter")
    for referrer in referrers:
        _letter(campaign, "welcome", referrer, {"referrer": referrer}, chance)
    for address, first, last in people[_REFERRERS:]:
        referrer = chance.choice(referrers)
        friend, _ = participants.ensure_friend(campaign.id, referrer, address, first, last)
        both = {"referrer": referrer, "friend": friend}
        _letter(campaign, "referral_created_referrer", referrer, both, chance)
        _letter(campaign, "referral_created_friend", friend, both, chance)
        if chance.random() < 0.45:
            participants.qualify(friend)
            _letter(campaign, "referral_qualified_referrer", referrer, both, chance)


def _address(first: str, last: str, chance: random.Random) -> tuple[str, str, str]:
    return f"{first}.{last}@{chance.choice(_DOMAINS)}".lower(), first, last


def _letter(
    campaign: campaigns.Campaign,
    kind: str,
    to: participants.Participant,
    people: dict[str, participants.Participant],
    chance: random.Random,
) -> None:
    notification = campaigns.notification_of(campaign.id, kind)
    made = db.now() - dt.timedelta(days=chance.random() ** 1.3 * (_DAYS - 1) + 0.1)
    tags = campaigns.campaign_values(campaign)
    for prefix, person in people.items():
        tags |= participants.merge_values(campaign, person, prefix=prefix)
    unsubscribe = participants.unsubscribe_url(to)
    delivery = Delivery(
        account_id=db.account_id(),
        kind="notification",
        campaign_id=campaign.id,
        notification_id=notification.id,
        notification_version_id=notification.current_version_id,
        participant_id=to.id,
        to_address=to.email,
        values=deliveries.letter_values(
            {name: value for name, value in tags.items() if name in KINDS[kind].tags}
            | {"unsubscribe_url": unsubscribe},
            to_name=f"{to.first_name} {to.last_name}",
            company_name=campaign.company_name,
            postal_address=accounts.current().postal_address,
            unsubscribe_url=unsubscribe,
        ),
        message_id=new_message_id(domain=ADDRESS.rpartition("@")[2]),
        date=made.replace(microsecond=0),
        made_at=made,
        next_attempt_at=made,
        sent_from={"from_name": "Acme Coffee", "from_address": ADDRESS, "reply_to": None},
    )
    suppressed = suppressions.is_suppressed(to.email, campaign.id)
    if suppressed:
        delivery.state, delivery.reason = "canceled", f"suppressed_{suppressed}"
    db.session().add(delivery)
    db.session().flush()
    if not suppressed:
        _attempts(delivery, made, chance)


_ACCEPTED: Final = {"outcome": "sent", "code": 250, "enhanced_code": "2.0.0", "reply": "2.0.0 OK: queued"}
_LATER: Final = {
    "outcome": "deferred", "about": "recipient", "code": 451, "enhanced_code": "4.7.1",
    "reply": "4.7.1 Greylisted, please try again later",
}  # fmt: skip
_NOBODY: Final = {
    "outcome": "failed", "about": "recipient", "failure": "recipient_refused", "code": 550, "enhanced_code": "5.1.1",
    "reply": "5.1.1 The email account that you tried to reach does not exist",
}  # fmt: skip
_SILENCE: Final = {
    "outcome": "uncertain", "about": "server", "reply": "The server hung up before it answered the final dot.",
}  # fmt: skip
_STORIES: Final[tuple[tuple[float, str, tuple[dict[str, Any], ...]], ...]] = (
    (0.84, "sent", (_ACCEPTED,)),
    (0.92, "sent", (_LATER, _ACCEPTED)),
    (0.96, "failed", (_NOBODY,)),
    (1.0, "uncertain", (_SILENCE,)),
)


def _attempts(delivery: Delivery, made: dt.datetime, chance: random.Random) -> None:
    drawn = chance.random()
    state, story = next((state, story) for up_to, state, story in _STORIES if drawn <= up_to)
    at = made
    for fence, told in enumerate(story, 1):
        at += dt.timedelta(milliseconds=200) if fence == 1 else dt.timedelta(seconds=61)
        ended = at + dt.timedelta(milliseconds=chance.randrange(80, 900))
        db.session().add(
            Attempt(
                account_id=delivery.account_id, delivery_id=delivery.id, fence=fence, server=_SERVER,
                started_at=at, ended_at=ended, phase="ready", **told,
            )
        )  # fmt: skip
        at = ended
    delivery.state, delivery.fence, delivery.attempts = state, len(story), len(story)
    delivery.reply = story[-1]["reply"]
    if state == "sent":
        delivery.sent_at = at
    elif state == "uncertain":
        delivery.reason = "no_reply"
