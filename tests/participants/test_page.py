"""The list of participants, and adding one by hand."""

from __future__ import annotations

import re

import pytest
from sqlalchemy import func, select

from panel.campaigns import service as campaigns
from panel.campaigns.service import Campaign, Details
from panel.outbox.service import Delivery
from panel.participants import service as participants
from panel.participants.listing import PAGE
from tests.support.world import World


@pytest.fixture
def path(campaign: Campaign) -> str:
    return f"/campaigns/{campaign.id}/participants"


def emails(page: str) -> list[str]:
    return re.findall(r"person\d+@example\.com", re.sub(r"<button.*?</button>", "", page, flags=re.DOTALL))


def test_it_shows_people_and_their_referrals(world: World, campaign: Campaign, path: str) -> None:
    with world.acme_scope():
        robin, _ = participants.ensure_referrer(campaign.id, "robin@example.com", "Robin", "<b>Meyer</b>")
        friend, _ = participants.ensure_friend(campaign.id, robin, "charlie@example.com", "Charlie")
        participants.qualify(friend)
    for user in (world.owner, world.member):
        page = world.client(user).get(path).text
        assert "Robin &lt;b&gt;Meyer&lt;/b&gt;" in page
        assert f"https://acme.example/r/{robin.referral_code}" in page
        assert "charlie@example.com" in page
        assert "Qualified" in page
    assert world.client(world.stranger).get(path).status_code == 404


def test_it_turns_pages_both_ways_and_shows_everybody_once(world: World, campaign: Campaign, path: str) -> None:
    with world.acme_scope():
        for number in range(2 * PAGE + 5):
            participants.ensure_referrer(campaign.id, f"person{number}@example.com")
    browser = world.client(world.member)
    pages, url = [], path
    while url:
        page = browser.get(url).text
        pages.append(emails(page))
        older = re.search(r'rel="next" href="([^"]+)"', page)
        url = older[1].replace("&amp;", "&") if older else ""
    assert [len(each) for each in pages] == [PAGE, PAGE, 5]
    assert [each for page in pages for each in page] == [
        f"person{n}@example.com" for n in reversed(range(2 * PAGE + 5))
    ]
    newer = re.search(r'rel="prev" href="([^"]+)"', page)
    assert newer is not None
    back = browser.get(newer[1].replace("&amp;", "&")).text
    assert emails(back) == pages[1]
    newest = re.search(r'rel="prev" href="([^"]+)"', back)
    assert newest is not None
    first = browser.get(newest[1].replace("&amp;", "&")).text
    assert emails(first) == pages[0]
    assert 'rel="prev"' not in first


def test_it_searches_names_and_addresses(world: World, campaign: Campaign, path: str) -> None:
    with world.acme_scope():
        participants.ensure_referrer(campaign.id, "person1@example.com", "Robin", "Meyer")
        participants.ensure_referrer(campaign.id, "person2@example.com", "Rob%n", "Meyer")
        participants.ensure_referrer(campaign.id, "person3@example.com", "Dana", "Okafor")
    browser = world.client(world.owner)
    for words, found in {
        "MEYER": {"person1@example.com", "person2@example.com"},
        "robin meyer": {"person1@example.com"},
        "rob%25n": {"person2@example.com"},
        "person3@": {"person3@example.com"},
        "nobody": set(),
    }.items():
        assert set(emails(browser.get(f"{path}?q={words}").text)) == found, words


def test_it_answers_404_to_a_page_that_begins_nowhere(world: World, path: str) -> None:
    with world.acme_scope():
        other = campaigns.create(Details(name="B", company_name="Acme", referral_url="https://b.example/"))
    answer = world.client(world.owner).get(f"{path}?older_than={other.id}")
    assert answer.status_code == 404


def test_it_lets_an_owner_add_a_referrer_and_mails_nobody(world: World, campaign: Campaign, path: str) -> None:
    browser = world.client(world.owner)
    answer = browser.submit(path, email="Robin@Example.com", first_name="Robin", last_name="")
    assert (answer.status_code, answer.location) == (303, path)
    assert "robin@example.com is a referrer now." in browser.get(path).text
    browser.submit(path, email="robin@example.com")
    assert "was a referrer already" in browser.get(path).text
    with world.acme_scope() as session:
        found = participants.find(campaign.id, "robin@example.com")
        assert found is not None
        assert found.joined_at is not None
        assert session.scalar(select(func.count()).select_from(Delivery)) == 0


@pytest.mark.parametrize("fields", [{"email": ""}, {"email": "robin"}, {"email": "a@b.example", "first_name": "R\nx"}])
def test_it_refuses_what_is_no_person(world: World, campaign: Campaign, path: str, fields: dict[str, str]) -> None:
    answer = world.client(world.owner).submit(path, **{"last_name": "Kept", **fields})
    assert answer.status_code == 422
    assert 'aria-invalid="true"' in answer.text
    assert 'value="Kept"' in answer.text
    with world.acme_scope():
        assert participants.count(campaign.id) == 0


def test_it_lets_nobody_else_add_one(world: World, campaign: Campaign, path: str) -> None:
    member = world.client(world.member)
    assert "Add a referrer" not in member.get(path).text
    assert member.post(path, {"email": "robin@example.com"}).status_code == 403
    assert world.client(world.stranger).post(path, {"email": "robin@example.com"}).status_code == 404
    with world.acme_scope():
        assert participants.count(campaign.id) == 0
