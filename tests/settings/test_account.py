"""Settings, Account."""

from __future__ import annotations

import re
from typing import Any

import pytest
from sqlalchemy import select

from panel import db
from panel.accounts import service as accounts
from panel.accounts.models import AuditEntry
from panel.campaigns import service as campaigns
from panel.campaigns.service import Details
from panel.deliveries import service as deliveries
from panel.outbox import service as outbox
from panel.settings.zones import zones
from tests.events.conftest import CREATED, Api, new_key
from tests.support.world import World

URL = "/settings/account"
GOOD = {
    "name": "Acme Coffee",
    "time_zone": "America/New_York",
    "postal_address": " 1 Roastery Lane \r\n12345 Springfield\r\n",
}


def change(world: World, user: Any = None, **changed: str) -> Any:
    return world.client(user or world.owner).submit(URL, **{**GOOD, **changed})


def test_it_saves_name_zone_and_postal_address(world: World) -> None:
    owner = world.client(world.owner)
    assert owner.submit(URL, **GOOD).status_code == 303
    page = owner.get(URL).get_data(as_text=True)
    assert 'value="Acme Coffee"' in page
    assert '<option selected value="America/New_York">America/New York</option>' in page
    with world.acme_scope() as session:
        account = accounts.current()
        assert account.postal_address == "1 Roastery Lane\n12345 Springfield"
        [entry] = session.scalars(select(AuditEntry).where(AuditEntry.action == "account.changed"))
        assert entry.details == {"fields": ["name", "time_zone", "postal_address"]}
        assert entry.user_id == world.owner.id


def test_saving_what_is_so_already_changes_nothing(world: World) -> None:
    change(world)
    change(world)
    with world.acme_scope() as session:
        assert len(session.scalars(select(AuditEntry).where(AuditEntry.action == "account.changed")).all()) == 1


def test_pages_show_times_in_the_zone(world: World) -> None:
    owner = world.client(world.owner)
    owner.submit(URL, **{**GOOD, "time_zone": "Pacific/Kiritimati"})
    page = owner.get("/settings/users").get_data(as_text=True)
    with world.acme_scope():
        signed_in = next(one for one in accounts.users() if one.email == "owner@acme.test").current_login_at
        assert signed_in is not None
        local = signed_in.astimezone(accounts.zone())
    assert f">{local.day} {local:%b %Y, %H:%M}</time>" in page


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"name": " "}, "Give the account a name"),
        ({"name": "x" * 201}, "longer than 200"),
        ({"name": "two\nlines"}, "single line"),
        ({"name": "Win at https://x.example"}, "no web address"),
        ({"name": "Other"}, "Another account has this name"),
        ({"time_zone": "Mars/Olympus"}, "Not a valid choice"),
        ({"time_zone": "../../etc/passwd"}, "Not a valid choice"),
        ({"postal_address": "x" * 501}, "longer than 500"),
        ({"postal_address": "one\x00two"}, "control character"),
    ],
)
def test_it_names_what_is_wrong(world: World, changed: dict[str, str], words: str) -> None:
    answer = change(world, **changed)
    assert answer.status_code == 422
    assert words in answer.get_data(as_text=True)
    with world.acme_scope():
        assert (accounts.current().name, accounts.current().time_zone) == ("Acme", "UTC")


def test_a_member_sees_it_and_changes_nothing(world: World) -> None:
    member = world.client(world.member)
    page = member.get(URL).get_data(as_text=True)
    assert "Acme" in page
    assert 'name="time_zone"' not in page
    assert member.post(URL, GOOD).status_code == 403


def test_it_offers_places_and_utc_and_keeps_another_zone_that_is_set(world: World) -> None:
    assert zones()[0] == "UTC"
    assert {"Europe/Berlin", "Asia/Kolkata", "America/Argentina/Buenos_Aires"} <= set(zones())
    assert not {"EST", "Etc/GMT+3", "US/Eastern"} & set(zones())
    with world.acme_scope(), db.transaction():
        accounts.current().time_zone = "US/Eastern"
    assert 'selected value="US/Eastern"' in world.client(world.owner).get(URL).get_data(as_text=True)


def test_letters_end_with_the_postal_address(world: World) -> None:
    change(world)
    with world.acme_scope():
        campaigns.create(Details(name="Spring", company_name="Acme", referral_url="https://acme.example/r/"))
    queued = Api(world.app.test_client(), new_key(world.acme.id)).taken(CREATED)["deliveries"]
    number = next(each["id"] for each in queued if each["to"] == "fi@example.com")
    with world.acme_scope():
        rendered = deliveries.render(outbox.get(int(number)))
    assert "1 Roastery Lane, 12345 Springfield" in rendered.text
    assert "1 Roastery Lane, 12345 Springfield" in rendered.html


def test_each_page_of_settings_says_by_its_heading_which_one_it_is(world: World) -> None:
    owner = world.client(world.owner)
    pages = ("email", "account", "users", "security", "api-keys", "audit", "data")
    headings = {re.findall(r"<h1>(.*?)</h1>", owner.get(f"/settings/{page}").text)[0] for page in pages}
    assert len(headings) == len(pages)
    assert "Settings" not in headings


def test_browsers_offer_nothing_of_a_person_for_names_of_things(world: World) -> None:
    owner = world.client(world.owner)
    for page, name in (("/settings/email", "display_name"), ("/campaigns/new", "name")):
        [field] = re.findall(rf'<input[^>]* name="{name}"[^>]*>', owner.get(page).text)
        assert 'autocomplete="off"' in field
