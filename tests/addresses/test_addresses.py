"""Settings, Email: outbound addresses."""

from __future__ import annotations

import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import select, update

from panel import db
from panel.accounts.models import Account, User
from panel.addresses import service
from panel.campaigns.models import Campaign
from panel.outbox.models import Delivery
from tests.support.world import Browser, World

URL = "/settings/email"


def add(world: World, email: str = "hello@acme.test", name: str = "Acme Coffee") -> service.OutboundAddress:
    with world.acme_scope(), world.app.test_request_context():
        return service.add(email=email, display_name=name)


def fetch(world: World, address: service.OutboundAddress) -> service.OutboundAddress | None:
    with world.acme_scope():
        return service.find(address.id)


def all_addresses(world: World) -> list[service.OutboundAddress]:
    with world.acme_scope():
        return service.all_addresses()


def letters(world: World) -> list[Delivery]:
    with world.acme_scope() as session:
        return list(session.scalars(select(Delivery).order_by(Delivery.id)))


def link(world: World) -> str:
    """The path of the link in the newest letter."""
    found = re.search(r"http://127\.0\.0\.1:8000(/settings/email/confirm/\S+)", letters(world)[-1].values["text"])
    assert found is not None
    return found[1]


@pytest.mark.parametrize("emails", [["hello@acme.test"] * 4, [f"{name}@acme.test" for name in "abcd"]])
def test_what_is_added_at_once_is_there_once_and_one_is_the_default(world: World, emails: list[str]) -> None:
    ready, taken = threading.Barrier(len(emails)), []

    def come(email: str) -> None:
        ready.wait()
        try:
            add(world, email)
        except service.AddressTaken:
            taken.append(email)

    with ThreadPoolExecutor(len(emails)) as threads:
        list(threads.map(come, emails))
    rows = all_addresses(world)
    assert sorted(row.email for row in rows) == sorted(set(emails))
    assert len(taken) == len(emails) - len(rows)
    assert [row.is_default for row in rows].count(True) == 1


def test_without_an_address_the_page_is_about_adding_one(world: World) -> None:
    page = world.client(world.owner).get(URL).get_data(as_text=True)

    assert "Which address does your mail come from?" in page
    assert 'name="email"' in page
    assert "Manage Email" not in page


def test_it_adds_an_address_and_mails_its_link(world: World) -> None:
    owner = world.client(world.owner)

    answer = owner.submit(URL, email="Hello@ACME.test", display_name="Acme Coffee")

    assert answer.status_code == 303
    page = owner.get(URL).get_data(as_text=True)
    assert "Hello@acme.test" in page
    assert "Manage Email</a>" in page
    assert "Platform server" in page
    assert "Not confirmed yet" in page
    [letter] = letters(world)
    assert (letter.kind, letter.to_address, letter.state) == ("system", "hello@acme.test", "queued")
    assert "/settings/email/confirm/" in letter.values["html"]


def test_no_name_that_somebody_chose_stands_in_the_letter(world: World) -> None:
    """Whatever was stored by earlier versions: mail programs make links of bare domains too."""
    with world.acme_scope(), db.transaction() as session:
        session.execute(update(Account).values(name="Pay at evil.example"))
        session.execute(update(User).where(User.id == world.owner.id).values(name="Call evil.example"))
    world.client(world.owner).submit(URL, email="hello@beans.test", display_name="Read evil.example")
    [letter] = letters(world)
    words = f"{letter.values['subject']} {letter.values['text']} {letter.values['html']}"
    assert "evil" not in words
    assert words.count("owner@acme.test, who has an account on Ownpost, wants to send mail") == 2


def test_the_first_address_is_the_default(world: World) -> None:
    first, second = add(world), add(world, "second@acme.test")

    assert first.is_default
    assert not second.is_default


@pytest.mark.parametrize(
    "fields",
    [
        {"email": "not an address", "display_name": ""},
        {"email": "a@acme.test\r\nBcc: x@y.test", "display_name": ""},
        {"email": "a@acme.test", "display_name": "two\nlines"},
        {"email": "", "display_name": ""},
    ],
)
def test_it_refuses_what_cannot_be_a_sender(world: World, fields: dict[str, str]) -> None:
    answer = world.client(world.owner).submit(URL, **fields)

    assert answer.status_code == 422
    assert 'aria-invalid="true"' in answer.get_data(as_text=True)
    assert letters(world) == []


def test_it_refuses_an_address_twice(world: World) -> None:
    add(world)

    answer = world.client(world.owner).submit(URL, email="HELLO@acme.test", display_name="")

    assert answer.status_code == 422
    assert "one of your outbound addresses already" in answer.get_data(as_text=True)


def test_the_link_asks_first_and_then_confirms(world: World) -> None:
    address = add(world)
    anyone = world.client()

    page = anyone.get(link(world)).get_data(as_text=True)
    assert "Yes, confirm it" in page
    assert fetch(world, address).confirmed_at is None

    page = anyone.post(link(world)).get_data(as_text=True)
    assert "is confirmed" in page
    assert fetch(world, address).confirmed_at is not None


def test_the_link_works_again_without_harm(world: World) -> None:
    address = add(world)
    path = link(world)
    world.client().submit(path)
    first = fetch(world, address).confirmed_at

    assert world.client().submit(path).status_code == 200
    assert fetch(world, address).confirmed_at == first


def test_a_link_that_was_changed_or_is_too_old_does_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    address = add(world)
    path = link(world)
    anyone: Browser = world.client()

    assert anyone.get(path[:-2]).status_code == 404
    eight_days_later = time.time() + 8 * 86_400
    monkeypatch.setattr("itsdangerous.timed.time.time", lambda: eight_days_later)
    answer = anyone.get(path)

    assert answer.status_code == 404
    assert "older than 7 days" in answer.get_data(as_text=True)
    assert fetch(world, address).confirmed_at is None


def test_a_link_to_a_removed_address_says_so(world: World) -> None:
    address = add(world)
    path = link(world)
    with world.acme_scope():
        service.remove(address.id)

    answer = world.client().get(path)

    assert answer.status_code == 404
    assert "was removed" in answer.get_data(as_text=True)


def test_it_mails_the_link_again(world: World) -> None:
    address = add(world)

    world.client(world.owner).post(f"{URL}/{address.id}/link")

    assert [letter.to_address for letter in letters(world)] == ["hello@acme.test"] * 2


def test_it_mails_links_only_so_often(world: World) -> None:
    world.reconfigure(OWNPOST_LIMIT_TESTS="2/minute")
    address = add(world)
    owner = world.client(world.owner)

    answers = [owner.post(f"{URL}/{address.id}/link").status_code for _ in range(3)]

    assert answers == [303, 303, 429]


def test_it_fills_nobodys_inbox_whichever_account_asks(world: World) -> None:
    acme, other = world.client(world.owner), world.client(world.stranger)
    spellings = ("Victim@beans.test", "victim+1@beans.test", "victim+2@beans.test")
    assert [acme.submit(URL, email=email).status_code for email in spellings] == [303] * 3
    assert [other.submit(URL, email=email).status_code for email in spellings] == [303, 303, 429]
    assert len(letters(world)) == 3
    address = next(one for one in all_addresses(world) if one.email == spellings[0])
    refused = acme.post(f"{URL}/{address.id}/link")
    assert refused.status_code == 429
    assert "has been mailed often enough for now. Try again in 24 hours." in refused.text


def test_what_was_typed_stays_where_a_limit_refuses_it(world: World) -> None:
    world.reconfigure(OWNPOST_LIMIT_TESTS="6/minute")
    owner = world.client(world.owner)
    for number in range(5):
        assert owner.submit(URL, email=f"victim+{number}@beans.test", display_name="").status_code == 303
    for email, words in (
        ("victim+6@beans.test", "has been mailed often enough for now. Try again in 24 hours."),
        ("other@beans.test", "That was a little too often."),
    ):
        refused = owner.submit(URL, email=email, display_name="Acme Beans")
        assert refused.status_code == 429
        assert int(refused.headers["Retry-After"]) > 0
        error = re.search(r'id="email-error">.*?</svg>(.*?)</p>', refused.text, re.DOTALL)
        assert error is not None
        assert words in error[1]
        assert f'value="{email}"' in refused.text
        assert 'value="Acme Beans"' in refused.text


def test_it_makes_another_one_the_default(world: World) -> None:
    first, second = add(world), add(world, "second@acme.test")

    world.client(world.owner).post(f"{URL}/{second.id}/default")

    assert not fetch(world, first).is_default
    assert fetch(world, second).is_default


def test_it_changes_the_name(world: World) -> None:
    address = add(world)
    owner = world.client(world.owner)

    owner.post(f"{URL}/{address.id}/name", {"display_name": "Acme Tea"})
    owner.post(f"{URL}/{address.id}/name", {"display_name": "two\nlines"})

    assert fetch(world, address).display_name == "Acme Tea"


def test_it_removes_an_address(world: World) -> None:
    address = add(world)

    world.client(world.owner).post(f"{URL}/{address.id}/remove")

    assert fetch(world, address) is None


def test_it_keeps_the_default_one_while_there_are_others(world: World) -> None:
    first = add(world)
    add(world, "second@acme.test")
    owner = world.client(world.owner)

    owner.post(f"{URL}/{first.id}/remove")

    assert fetch(world, first) is not None
    assert "Make another one the default first" in owner.get(URL).get_data(as_text=True)


def test_it_keeps_an_address_that_campaigns_use(world: World) -> None:
    add(world)
    second = add(world, "second@acme.test")
    with world.acme_scope(), db.transaction() as session:
        session.add(
            Campaign(
                slug="spring", name="Spring", company_name="Acme", referral_url="https://x.test", address_id=second.id
            )
        )
    owner = world.client(world.owner)

    owner.post(f"{URL}/{second.id}/remove")

    assert fetch(world, second) is not None
    assert "Campaigns send from this address" in owner.get(URL).get_data(as_text=True)


def test_a_member_sees_the_addresses_and_changes_none(world: World) -> None:
    address = add(world)
    member = world.client(world.member)

    page = member.get(URL).get_data(as_text=True)
    assert "hello@acme.test" in page
    assert "Manage Email" in page
    assert "Remove" not in page
    assert member.post(URL, {"email": "new@acme.test"}).status_code == 403
    for action in ("link", "default", "name", "remove"):
        assert member.post(f"{URL}/{address.id}/{action}").status_code == 403
    assert fetch(world, address) is not None


def test_it_is_not_there_for_a_stranger(world: World) -> None:
    address = add(world)
    stranger = world.client(world.stranger)

    assert "hello@acme.test" not in stranger.get(URL).get_data(as_text=True)
    for action in ("link", "default", "name", "remove"):
        assert stranger.post(f"{URL}/{address.id}/{action}", {"display_name": "x"}).status_code == 404
    assert fetch(world, address).display_name == "Acme Coffee"
