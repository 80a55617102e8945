"""The immediate notifications that every campaign has: who gets which letter when, and its first words."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from panel.campaigns.defaults import BODIES
from panel.message.tags import CAMPAIGN, DENIAL, FRIEND, LINKS, REFERRER, REWARD

Recipient = Literal["referrer", "friend", "owner"]

# What a referrer's own page and numbers are is nobody else's business.
_REFERRER_TO_OTHERS: Final = REFERRER - {
    "referrer.portal_link",
    "referrer.referral_count",
    "referrer.qualified_count",
}
_REFERRER_TO_OWNER: Final = REFERRER - {"referrer.portal_link"}


@dataclass(frozen=True, slots=True, kw_only=True)
class NotificationKind:
    """One trigger and one kind of recipient.

    `event` is the type reported to the event API; `trigger_words` say in a sentence when the letter is sent;
    `warning_when_off` is what to tell whoever switches it off; `tags` are the merge tags that the trigger can fill.
    """

    key: str
    event: str
    recipient: Recipient
    title: str
    trigger_words: str
    tags: frozenset[str]
    subject: str
    preheader: str
    warning_when_off: str | None = None
    default_on: bool = True

    @property
    def html(self) -> str:
        """The default body, as it is put into the editor."""
        return BODIES[self.key]


_ALL: Final = (
    NotificationKind(
        key="welcome",
        event="referrer.joined",
        recipient="referrer",
        title="Welcome, with the referral link",
        trigger_words="Sent as soon as someone joins the campaign as a referrer.",
        warning_when_off="With Welcome switched off, referrers never get their referral link by email.",
        tags=REFERRER | CAMPAIGN | LINKS,
        subject="Welcome! Here is your link to share",
        preheader="Share it with friends, and we will let you know when they join.",
    ),
    NotificationKind(
        key="new_referrer",
        event="referrer.joined",
        recipient="owner",
        title="New referrer",
        trigger_words="Sent to you as soon as someone joins the campaign as a referrer.",
        tags=_REFERRER_TO_OWNER | CAMPAIGN,
        subject="New referrer: {{ referrer.first_name | default: referrer.email }} joined “{{ campaign.name }}”",
        preheader="They have their referral link and can start sharing it.",
    ),
    NotificationKind(
        key="referral_created_referrer",
        event="referral.created",
        recipient="referrer",
        title="You got a referral",
        trigger_words="Sent to the referrer as soon as a friend signs up through their link.",
        tags=REFERRER | FRIEND | CAMPAIGN | LINKS,
        subject='Good news: {{ friend.first_name | default: "a friend" }} used your link',
        preheader="Thank you for spreading the word.",
    ),
    NotificationKind(
        key="referral_created_friend",
        event="referral.created",
        recipient="friend",
        title="You have been referred",
        trigger_words="Sent to the friend as soon as they sign up through a referrer’s link.",
        tags=_REFERRER_TO_OTHERS | FRIEND | CAMPAIGN | LINKS,
        subject='{{ referrer.first_name | default: "A friend" }} recommended {{ company.name | default: "us" }} to you',
        preheader="It is good to have you here.",
    ),
    NotificationKind(
        key="referral_created_owner",
        event="referral.created",
        recipient="owner",
        title="New referral",
        trigger_words="Sent to you as soon as a friend signs up through a referrer’s link.",
        tags=_REFERRER_TO_OWNER | FRIEND | CAMPAIGN,
        subject="New referral in “{{ campaign.name }}”: {{ friend.first_name | default: friend.email }}",
        preheader="Referred by {{ referrer.first_name | default: referrer.email }}.",
    ),
    NotificationKind(
        key="referral_qualified_referrer",
        event="referral.qualified",
        recipient="referrer",
        title="Your referral qualified",
        trigger_words="Sent to the referrer as soon as their friend meets the campaign’s conditions.",
        tags=REFERRER | FRIEND | CAMPAIGN | LINKS,
        subject='{{ friend.first_name | default: "Your friend" }} qualified – thanks to you',
        preheader="Your recommendation counts. Thank you!",
    ),
    NotificationKind(
        key="referral_qualified_friend",
        event="referral.qualified",
        recipient="friend",
        title="You qualified",
        trigger_words="Sent to the friend as soon as they meet the campaign’s conditions.",
        tags=_REFERRER_TO_OTHERS | FRIEND | CAMPAIGN | LINKS,
        subject="All done: you qualified",
        preheader="You have completed everything that was needed.",
    ),
    NotificationKind(
        key="referral_qualified_owner",
        event="referral.qualified",
        recipient="owner",
        title="Referral qualified",
        trigger_words="Sent to you as soon as a referred friend meets the campaign’s conditions.",
        tags=_REFERRER_TO_OWNER | FRIEND | CAMPAIGN,
        subject="Referral qualified in “{{ campaign.name }}”: {{ friend.first_name | default: friend.email }}",
        preheader="Referred by {{ referrer.first_name | default: referrer.email }}.",
    ),
    NotificationKind(
        key="referral_denied_referrer",
        event="referral.denied",
        recipient="referrer",
        title="Referral denied",
        trigger_words="Sent to the referrer when a referral of theirs is denied.",
        tags=REFERRER | FRIEND | DENIAL | CAMPAIGN | LINKS,
        default_on=False,
        subject="About your referral",
        preheader="This one did not count, but the next one can.",
    ),
    NotificationKind(
        key="reward_issued_referrer",
        event="reward.issued",
        recipient="referrer",
        title="Your reward is ready (referrer)",
        trigger_words="Sent to the referrer as soon as a reward is issued to them.",
        warning_when_off="With this switched off, referrers are not told about their rewards by email.",
        tags=REFERRER | REWARD | CAMPAIGN | LINKS,
        subject='Your reward is ready: {{ reward.name | default: "thank you!" }}',
        preheader="You have earned it by recommending us.",
    ),
    NotificationKind(
        key="reward_issued_friend",
        event="reward.issued",
        recipient="friend",
        title="Your reward is ready (friend)",
        trigger_words="Sent to the friend as soon as a reward is issued to them.",
        warning_when_off="With this switched off, friends are not told about their rewards by email.",
        tags=_REFERRER_TO_OTHERS | FRIEND | REWARD | CAMPAIGN | LINKS,
        subject='Your reward is ready: {{ reward.name | default: "thank you!" }}',
        preheader="It is waiting for you.",
    ),
)

KINDS: Final[Mapping[str, NotificationKind]] = {kind.key: kind for kind in _ALL}


def kinds_for_event(event: str) -> tuple[NotificationKind, ...]:
    """The notifications that an event of this type triggers, in the order of `KINDS`; none for an unknown type."""
    return tuple(kind for kind in _ALL if kind.event == event)
