"""The demo account: a campaign with people in it, and a month of letters behind it. Nothing of it is ever sent."""

from __future__ import annotations

import datetime as dt
import random
import secrets
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Final

from flask import current_app
from flask_security import hash_password
from sqlalchemy import select

from panel import db, embedded
from panel.accounts import service as accounts
from panel.addresses import service as addresses
from panel.blasts import service as blasts
from panel.campaigns import service as campaigns
from panel.campaigns.kinds import KINDS
from panel.config import Settings
from panel.deliveries import service as deliveries
from panel.message.drafting import Words
from panel.message.letter import new_message_id
from panel.outbox.service import Attempt, Delivery
from panel.participants import service as participants
from panel.servers import service as servers
from panel.suppressions import service as suppressions

ACCOUNT, EMAIL = "Acme Coffee", "owner@acme-coffee.example"
ADDRESS, SLUG = "hello@acme-coffee.example", "spring"
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
_REFERRERS, _FRIENDS, _DAYS, _QUALIFY = 14, 26, 30, 0.45
_BLAST_AGO: Final = 3.5  # days, when all referrers had joined

_LETTER: Final = '<div style="max-width:560px;margin:0 auto;padding:24px;font:16px/1.6 Arial,Helvetica,sans-serif">'
_SIGNED: Final = "<p>Warm regards,<br>{{ company.name }}</p></div>"
_SUMMER: Final = Words(
    subject='Summer roast is here, {{ recipient.first_name | default: "and you are the first to know" }}',
    preheader="Share it with your friends: your link is below.",
    html=f'{_LETTER}<h1>Our summer roast is here</h1><p>Hello {{{{ recipient.first_name | default: "there" }}}},</p>'
    "<p>it is light, fruity, and only here until September. Your friends get their first bag for half the price with "
    'your link:</p><p><a href="{{ referrer.referral_link }}">{{ referrer.referral_link }}</a></p>' + _SIGNED,
    text="",
)
_FRIENDS_ONLY: Final = Words(
    subject="Would your friends like our coffee, too?",
    preheader="",
    html=f'{_LETTER}<h1>Hello {{{{ recipient.first_name | default: "there" }}}}!</h1><p>You came to us by a friend’s '
    "recommendation. Would you like to recommend us yourself?</p>" + _SIGNED,
    text="",
)


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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Moment:
    """Something that happened, and the letter that it caused."""

    when: dt.datetime
    kind: str
    to: participants.Participant
    referrer: participants.Participant
    friend: participants.Participant | None = None


def _fill() -> None:
    chance = random.Random("Acme Coffee")  # noqa: S311 - the same demo for everybody
    now = db.now()
    address = addresses.add_confirmed(email=ADDRESS, display_name=ACCOUNT)
    campaign = _campaign(now - dt.timedelta(days=_DAYS + 1))
    moments = sorted(_history(campaign, now, chance), key=lambda moment: moment.when)
    gone = moments[len(moments) // 3].referrer
    gone.unsubscribed_at = moments[len(moments) // 3].when
    suppression, _ = suppressions.add(
        gone.email, campaign_id=campaign.id, reason="unsubscribed", source="the link in a letter"
    )
    suppression.made_at = gone.unsubscribed_at
    letters = [_letter(campaign, address.id, moment) for moment in moments]
    # In the order in which they were made, so that the log shows them in it.
    then = now - dt.timedelta(days=_BLAST_AGO)
    _keep(letter for letter in letters if letter.made_at <= then)
    _blasts(campaign, address.id, then, chance)
    _keep(letter for letter in letters if letter.made_at > then)
    waiting = [letter for letter in letters if letter.state != "canceled"]
    for number, letter in enumerate(waiting):
        _attempts(letter, _story(number, len(waiting)), chance)


def _keep(letters: Iterable[Delivery]) -> None:
    session = db.session()
    session.add_all(list(letters))
    session.flush()


def _blasts(campaign: campaigns.Campaign, address_id: uuid.UUID, then: dt.datetime, chance: random.Random) -> None:
    """One that all referrers got some days ago, and a draft."""
    settings: Settings = current_app.extensions["ownpost"]
    envelope = servers.envelope_of(servers.platform_route(address_id), platform_from=settings.platform_from)
    blast = blasts.create(campaign.id)
    blasts.save(blast.id, _SUMMER, blasts.Audience(who="referrers"))
    blasts.send(blast.id)
    blast.state, blast.made_at, blast.started_at = "done", then - dt.timedelta(hours=3), then
    blast.finished_at = then + dt.timedelta(seconds=9)
    sent = db.session().scalars(select(Delivery).where(Delivery.blast_id == blast.id).order_by(Delivery.id)).all()
    for number, letter in enumerate(sent):
        letter.made_at = letter.next_attempt_at = then
        letter.date, letter.sent_from = then.replace(microsecond=0), asdict(envelope)
        _attempts(letter, (_NOBODY,) if number == len(sent) // 2 else (_ACCEPTED,), chance)
    blasts.save(blasts.create(campaign.id).id, _FRIENDS_ONLY, blasts.Audience(who="friends", referrals="none"))


def _campaign(made_at: dt.datetime) -> campaigns.Campaign:
    campaign = campaigns.create(
        campaigns.Details(
            name="Spring referrals",
            company_name=ACCOUNT,
            referral_url="https://acme-coffee.example/invite",
            portal_url="https://acme-coffee.example/friends/",
        ),
        slug=SLUG,
    )
    campaign.made_at = made_at
    for notification in campaigns.notifications(campaign.id):
        campaigns.current_version(notification).made_at = made_at
    return campaign


def _history(campaign: campaigns.Campaign, now: dt.datetime, chance: random.Random) -> Iterator[_Moment]:
    """People join, refer friends, and some of these qualify: in the last 30 days, and in this order for each."""
    names = [(first, last) for first in _FIRST for last in _LAST]
    chance.shuffle(names)
    people = [_address(first, last, chance) for first, last in names[: _REFERRERS + _FRIENDS]]
    referrers = [
        participants.ensure_referrer(campaign.id, address, first, last)[0]
        for address, first, last in people[:_REFERRERS]
    ]
    for referrer in referrers:
        referrer.made_at = referrer.joined_at = now - dt.timedelta(days=chance.uniform(4, _DAYS - 1))
        yield _Moment(when=referrer.made_at, kind="welcome", to=referrer, referrer=referrer)
    for address, first, last in people[_REFERRERS:]:
        referrer = chance.choice(referrers)
        friend, _ = participants.ensure_friend(campaign.id, referrer, address, first, last)
        friend.made_at = friend.referred_at = met = _between(referrer.made_at, now, chance)
        yield _Moment(when=met, kind="referral_created_referrer", to=referrer, referrer=referrer, friend=friend)
        yield _Moment(when=met, kind="referral_created_friend", to=friend, referrer=referrer, friend=friend)
        if chance.random() < _QUALIFY:
            participants.qualify(friend)
            when = _between(met, now, chance)
            yield _Moment(when=when, kind="referral_qualified_referrer", to=referrer, referrer=referrer, friend=friend)


def _address(first: str, last: str, chance: random.Random) -> tuple[str, str, str]:
    return f"{first}.{last}@{chance.choice(_DOMAINS)}".lower(), first, last


def _between(earlier: dt.datetime, later: dt.datetime, chance: random.Random) -> dt.datetime:
    return earlier + (later - earlier) * chance.uniform(0.02, 0.95)


def _letter(campaign: campaigns.Campaign, address_id: uuid.UUID, moment: _Moment) -> Delivery:
    settings: Settings = current_app.extensions["ownpost"]
    notification = campaigns.notification_of(campaign.id, moment.kind)
    envelope = servers.envelope_of(servers.platform_route(address_id), platform_from=settings.platform_from)
    unsubscribed = moment.to.unsubscribed_at is not None and moment.when >= moment.to.unsubscribed_at
    return Delivery(
        account_id=db.account_id(),
        kind="notification",
        campaign_id=campaign.id,
        notification_id=notification.id,
        notification_version_id=notification.current_version_id,
        participant_id=moment.to.id,
        to_address=moment.to.email,
        values=_values(campaign, moment),
        message_id=new_message_id(domain=ADDRESS.rpartition("@")[2]),
        date=moment.when.replace(microsecond=0),
        made_at=moment.when,
        next_attempt_at=moment.when,
        state="canceled" if unsubscribed else "sent",
        reason="suppressed_unsubscribed" if unsubscribed else None,
        sent_from=None if unsubscribed else asdict(envelope),
    )


def _values(campaign: campaigns.Campaign, moment: _Moment) -> dict[str, Any]:
    unsubscribe = participants.unsubscribe_url(moment.to)
    tags = campaigns.campaign_values(campaign) | {
        "unsubscribe_url": unsubscribe,
        "preferences_url": participants.preferences_url(moment.to),
        **participants.merge_values(campaign, moment.referrer, prefix="referrer"),
        **(participants.merge_values(campaign, moment.friend, prefix="friend") if moment.friend else {}),
    }
    return deliveries.letter_values(
        {name: value for name, value in tags.items() if name in KINDS[moment.kind].tags},
        to_name=f"{moment.to.first_name} {moment.to.last_name}",
        company_name=campaign.company_name,
        postal_address=accounts.current().postal_address,
        unsubscribe_url=unsubscribe,
    )


_ACCEPTED: Final = {
    "outcome": "sent",
    "phase": "final_dot",
    "code": 250,
    "enhanced_code": "2.0.0",
    "reply": "250 2.0.0 Ok: queued",
}
_LATER: Final = {
    "outcome": "deferred", "phase": "rcpt", "about": "recipient", "failure": "recipient_refused",
    "code": 451, "enhanced_code": "4.7.1", "reply": "451 4.7.1 Greylisted, please try again later",
}  # fmt: skip
_NOBODY: Final = {
    "outcome": "failed", "phase": "rcpt", "about": "recipient", "failure": "recipient_refused",
    "code": 550, "enhanced_code": "5.1.1",
    "reply": "550 5.1.1 The email account that you tried to reach does not exist. Check the address for typos.",
}  # fmt: skip
_SILENCE: Final = {
    "outcome": "uncertain", "phase": "final_dot", "about": "server", "failure": "protocol_error", "bytes_sent": 7_346,
    "reply": "The server hung up before it answered the final dot.",
}  # fmt: skip


def _story(number: int, of: int) -> tuple[dict[str, Any], ...]:
    """The attempts of the letter with that number: most are accepted at once."""
    if number == of * 4 // 5:
        return (_SILENCE,)
    if number % 29 == 13:
        return (_NOBODY,)
    return (_LATER, _ACCEPTED) if number % 11 == 6 else (_ACCEPTED,)


def _attempts(delivery: Delivery, story: tuple[dict[str, Any], ...], chance: random.Random) -> None:
    at = delivery.made_at
    for fence, told in enumerate(story, 1):
        at += dt.timedelta(milliseconds=200) if fence == 1 else dt.timedelta(seconds=61)
        ended = at + dt.timedelta(milliseconds=chance.randrange(80, 900))
        attempt = Attempt(
            account_id=delivery.account_id, delivery_id=delivery.id, fence=fence, server="platform server"
        )
        attempt.started_at, attempt.ended_at = at, ended
        for name, value in told.items():
            setattr(attempt, name, value)
        db.session().add(attempt)
        at = ended
    last = story[-1]
    delivery.state, delivery.reply = last["outcome"], last["reply"]
    delivery.fence = delivery.attempts = len(story)
    delivery.sent_at = at if delivery.state == "sent" else None
    delivery.reason = {"failed": "recipient_refused", "uncertain": "no_reply"}.get(delivery.state)
