"""Making a campaign."""

from __future__ import annotations

import threading

import pytest

from panel import db
from panel.campaigns import service as campaigns
from panel.campaigns.service import Details
from tests.support.world import World

SPRING = Details(name="Spring referrals", company_name="Acme Coffee", referral_url="https://acme.example/r/")


def test_it_gives_a_campaign_every_notification_in_its_first_version(world: World) -> None:
    with world.acme_scope():
        campaign = campaigns.create(SPRING)
        made = campaigns.notifications(campaign.id)
        assert [each.kind for each in made] == list(campaigns.KINDS)
        for each in made:
            assert each.enabled == campaigns.KINDS[each.kind].default_on
            version = campaigns.current_version(each)
            assert version.number == 1
            assert version.html_source == campaigns.KINDS[each.kind].html
            rendered = campaigns.compiled(version.id).render(campaigns.sample(campaign))
            assert rendered.subject
            assert "{{" not in rendered.html + rendered.text + rendered.subject


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("Spring referrals", "spring-referrals"),
        ("  Été à la Crème! ", "ete-a-la-creme"),
        ("春の紹介", "campaign"),
        ("x" * 200, "x" * 63),
    ],
)
def test_it_makes_the_slug_from_the_name(name: str, slug: str) -> None:
    assert campaigns.slug_of(name) == slug


def test_it_numbers_slugs_that_are_taken(world: World) -> None:
    with world.acme_scope():
        slugs = [campaigns.create(SPRING).slug for _ in range(3)]
        assert slugs == ["spring-referrals", "spring-referrals-2", "spring-referrals-3"]
        assert campaigns.by_slug("spring-referrals-2") is not None
    with db.account_scope(world.other.id):
        assert campaigns.by_slug("spring-referrals-2") is None
        assert campaigns.create(SPRING).slug == "spring-referrals"


def test_it_gives_campaigns_made_at_once_different_slugs(world: World) -> None:
    together = threading.Barrier(4)
    made: list[str] = []

    def make() -> None:
        with world.app.app_context(), world.acme_scope():
            together.wait(10)
            made.append(campaigns.create(SPRING).slug)

    threads = [threading.Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == len(set(made)) == 4


@pytest.mark.parametrize(
    ("url", "link"),
    [
        ("https://acme.example/r/", "https://acme.example/r/ABC"),
        ("https://acme.example/join?ref=", "https://acme.example/join?ref=ABC"),
        ("https://acme.example/join", "https://acme.example/join?ref=ABC"),
        ("https://acme.example/join?from=mail", "https://acme.example/join?from=mail&ref=ABC"),
    ],
)
def test_it_puts_the_code_into_the_referral_link(url: str, link: str) -> None:
    campaign = campaigns.Campaign(referral_url=url, portal_url="")
    assert campaigns.referral_link(campaign, "ABC") == link
    assert campaigns.portal_link(campaign, "ABC") == ""
