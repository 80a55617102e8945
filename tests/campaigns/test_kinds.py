"""The notification kinds: complete, sayable without warnings, and readable whatever is known of the people."""

import re

import pytest

from panel.campaigns.kinds import KINDS, NotificationKind, kinds_for_event
from panel.message.tags import DENIAL, FRIEND, LINKS, REWARD, TAGS, sample_values
from panel.message.template import Footer, Rendered, compile_version, prepare

FOOTER = Footer(company_name="Acme", postal_address="1 Main Street", unsubscribe_url="https://acme.example/u/1")
# What an event always comes with, whatever else is known.
ALWAYS = {
    "referrer.email": "r@example.com",
    "referrer.referral_link": "https://acme.example/r/1",
    "friend.email": "f@example.com",
    "campaign.name": "Spring",
    "company.name": "Acme",
}
each_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=list(KINDS))


def letter(kind: NotificationKind, values: dict[str, str]) -> Rendered:
    one = prepare(subject=kind.subject, preheader=kind.preheader, html=kind.html, text=None, allowed=kind.tags)
    version = compile_version(subject=one.subject, preheader=one.preheader, html=one.html, text=one.text)
    known = {name: value for name, value in values.items() if name in kind.tags}
    return version.render(known, footer=None if kind.recipient == "owner" else FOOTER)


def test_it_has_a_kind_for_every_immediate_trigger_and_recipient():
    assert [(kind.event, kind.recipient) for kind in KINDS.values()] == [
        ("referrer.joined", "referrer"),
        ("referrer.joined", "owner"),
        ("referral.created", "referrer"),
        ("referral.created", "friend"),
        ("referral.created", "owner"),
        ("referral.qualified", "referrer"),
        ("referral.qualified", "friend"),
        ("referral.qualified", "owner"),
        ("referral.denied", "referrer"),
        ("reward.issued", "referrer"),
        ("reward.issued", "friend"),
    ]
    assert [key for key, kind in KINDS.items() if key != kind.key] == []


def test_it_finds_the_kinds_of_an_event():
    assert [kind.key for kind in kinds_for_event("referrer.joined")] == ["welcome", "new_referrer"]
    assert [kind.key for kind in kinds_for_event("reward.issued")] == ["reward_issued_referrer", "reward_issued_friend"]
    assert kinds_for_event("unknown") == ()


def test_it_starts_with_all_but_the_denial_switched_on():
    assert [key for key, kind in KINDS.items() if not kind.default_on] == ["referral_denied_referrer"]


def test_it_warns_that_without_welcome_referrers_never_get_their_link():
    assert "never get their referral link" in (KINDS["welcome"].warning_when_off or "")


@each_kind
def test_it_allows_the_tags_that_the_trigger_can_fill_and_no_others(kind: NotificationKind):
    assert kind.tags <= TAGS.keys()
    assert bool(kind.tags & REWARD) == (kind.event == "reward.issued")
    assert bool(kind.tags & DENIAL) == (kind.event == "referral.denied")
    assert kind.tags >= LINKS if kind.recipient != "owner" else not kind.tags & LINKS
    assert not (kind.event == "referrer.joined" and kind.tags & FRIEND)


@each_kind
def test_it_shows_a_referrers_own_page_to_nobody_else(kind: NotificationKind):
    assert ("referrer.portal_link" in kind.tags) == (kind.recipient == "referrer")


@each_kind
@pytest.mark.parametrize("values", [sample_values(), ALWAYS], ids=["all known", "least known"])
def test_its_default_words_read_well_whatever_is_known(kind: NotificationKind, values: dict[str, str]):
    one = letter(kind, values)
    for text in (one.subject, one.text):
        assert "{{" not in text
        assert "{%" not in text
        assert not re.search(r"\(\)|“”|  | [,.!?:]|,,|\bNone\b", text), text
    assert 5 < len(one.subject) <= 90
    assert ("Acme" if kind.recipient != "owner" else values["campaign.name"]) in one.text
    assert "\n\n\n" not in one.text
    assert 'href="#"' not in one.html
    assert 'href=""' not in one.html
    assert "<style" not in one.html


@each_kind
def test_it_says_accepted_or_nothing_but_never_delivered(kind: NotificationKind):
    words = f"{kind.title} {kind.trigger_words} {kind.warning_when_off} {kind.subject} {kind.preheader} {kind.html}"
    assert "delivered" not in words.lower()
    assert kind.trigger_words.endswith(".")


@each_kind
def test_it_gives_every_participant_a_way_out_and_owners_no_footer(kind: NotificationKind):
    one = letter(kind, sample_values())
    has_link = FOOTER.unsubscribe_url in one.text and FOOTER.unsubscribe_url in one.html
    assert has_link == (kind.recipient != "owner")


def test_it_gives_the_welcomed_referrer_their_link_in_both_bodies():
    one = letter(KINDS["welcome"], ALWAYS)
    assert 'href="https://acme.example/r/1"' in one.html
    assert "https://acme.example/r/1" in one.text


def test_it_tells_the_reward_with_its_code_and_its_last_day():
    for key in ("reward_issued_referrer", "reward_issued_friend"):
        one = letter(KINDS[key], sample_values())
        for words in ("Free coffee, worth 5 EUR", "Your code: COFFEE-7Q2X", "Please use it by 31 January 2027."):
            assert words in one.text
        bare = letter(KINDS[key], ALWAYS).text
        assert "code" not in bare
        assert "Please use it by" not in bare
