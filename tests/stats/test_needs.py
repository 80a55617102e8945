"""What Home asks a person for."""

from __future__ import annotations

import datetime as dt

import pytest

from panel import db
from panel.addresses import service as addresses
from tests.stats.test_days import a_letter
from tests.support.world import World


@pytest.mark.parametrize(
    ("state", "days_ago", "words"),
    [
        ("uncertain", 25, "1 letter may or may not have arrived"),
        ("failed", 6, "1 letter of the last 7 days could not be sent"),
        ("expired", 6, "1 letter of the last 7 days waited too long and expired"),
    ],
)
def test_it_leads_to_the_letters_that_need_a_person(world: World, state: str, days_ago: int, words: str) -> None:
    with world.acme_scope():
        a_letter(db.now() - dt.timedelta(days=days_ago), state)
    for user in (world.owner, world.member):
        page = world.client(user).get("/").text
        assert words in page
        assert f'href="/deliveries?state={state}"' in page
    assert words not in world.client(world.stranger).get("/").text


@pytest.mark.parametrize("state", ["failed", "expired", "sent", "queued", "canceled"])
def test_it_lets_the_past_rest(world: World, state: str) -> None:
    with world.acme_scope():
        a_letter(db.now() - dt.timedelta(days=8), state)
    assert "/deliveries?state=" not in world.client(world.owner).get("/").text


def test_it_asks_to_confirm_an_address(world: World) -> None:
    browser = world.client(world.owner)
    with world.app.test_request_context(), world.acme_scope():
        address = addresses.add(email="hello@acme.test", display_name="Acme")
    assert "hello@acme.test is not confirmed yet" in browser.get("/").text
    with world.acme_scope():
        addresses.confirm(addresses.get(address.id), way="link")
    assert "is not confirmed yet" not in browser.get("/").text
