"""Signing up, where the operator lets everybody do so."""

from __future__ import annotations

import datetime as dt
import re
import time
from typing import Any

import pytest
from sqlalchemy import func, select, update

from jobs import ticker
from panel import db
from panel.accounts.models import Account, User
from panel.settings import service, signup
from panel.settings.models import Invitation
from panel.web.evenly import AT_LEAST
from tests.settings.conftest import NEW_PASSWORD, join, letters, link
from tests.support.world import Browser, World

NEW = "new@beans.test"


@pytest.fixture
def open_world(world: World) -> World:
    """The app open for sign-ups."""
    world.reconfigure(OWNPOST_SIGNUP="open")
    return world


def sign_up(world: World, email: str = NEW, account_name: str = "Beans", **options: Any) -> Any:
    browser = world.client()
    browser.get("/signup")
    return browser.post("/signup", {"email": email, "account_name": account_name}, **options)


def test_nothing_that_a_stranger_typed_stands_in_the_letter(open_world: World):
    sign_up(open_world, account_name="Pay at evil.example")
    [letter] = letters(open_world)
    assert "evil" not in f"{letter.values['subject']} {letter.values['text']} {letter.values['html']}"


def names(world: World) -> set[str]:
    with db.system_scope("tests") as session:
        return set(session.scalars(select(Account.name)))


def count(world: World, model: Any) -> int:
    with db.system_scope("tests") as session:
        return session.scalar(select(func.count()).select_from(model)) or 0


def test_it_is_not_there_where_sign_ups_are_closed(world: World) -> None:
    for answer in (world.client().get("/signup"), sign_up(world)):
        assert answer.status_code == 404
        assert "Ask the person who runs this Ownpost" in answer.get_data(as_text=True)
    assert "/signup" not in world.client().get("/login").get_data(as_text=True)
    assert letters(world) == []


def test_it_opens_an_account_by_a_confirmed_address(open_world: World) -> None:
    world = open_world
    assert "/signup" in world.client().get("/login").get_data(as_text=True)
    assert NEW in sign_up(world, "New@Beans.test").get_data(as_text=True)
    [letter] = letters(world)
    assert (letter.kind, letter.to_address) == ("system", NEW)
    answer = join(world, link(world))
    assert (answer.status_code, answer.location) == (303, "/login")
    with db.system_scope("tests") as session:
        user = session.scalars(select(User).where(User.email == NEW)).one()
        assert (user.account.name, user.role) == ("Beans", "owner")
        assert user.confirmed_at is not None
        # What a new account may send by the platform's server in a day; the operator lifts it.
        assert user.account.platform_daily_limit == 100
    browser = world.client()
    assert browser.submit("/login", email=NEW, password=NEW_PASSWORD).location == "/"
    assert browser.get("/settings/account").status_code == 200


def test_before_that_there_is_nobody_who_could_sign_in_or_send(open_world: World) -> None:
    world = open_world
    people = count(world, User)
    sign_up(world)
    assert count(world, User) == people
    for password in ("", NEW_PASSWORD):
        answer = world.client().submit("/login", email=NEW, password=password)
        assert answer.status_code == 200
    world.client().submit("/forgot", email=NEW)
    assert len(letters(world)) == 1


def test_it_gives_the_same_answer_for_an_address_that_has_a_login(open_world: World) -> None:
    known, unknown = (plain(sign_up(open_world, email)) for email in ("owner@acme.test", NEW))
    assert known.replace("owner@acme.test", NEW) == unknown
    to_known, to_unknown = letters(open_world)
    assert (to_known.to_address, to_known.account_id) == ("owner@acme.test", open_world.acme.id)
    assert "which has a login already" in to_known.values["text"]
    assert "/invitation/" not in to_known.values["text"]
    assert "/invitation/" in to_unknown.values["text"]
    assert names(open_world) == {"Acme", "Other", "Beans"}


def plain(answer: Any) -> str:
    assert answer.status_code == 200
    return re.sub(r"[\w.-]{60,}", "", answer.get_data(as_text=True))


def test_it_takes_its_time_for_known_and_unknown_alike(open_world: World) -> None:
    for email in ("owner@acme.test", NEW):
        browser = open_world.client()
        browser.get("/signup")
        began = time.monotonic()
        browser.post("/signup", {"email": email, "account_name": "Beans"})
        assert time.monotonic() - began >= AT_LEAST


def test_nobody_opens_an_account_for_somebody_else(open_world: World) -> None:
    """What is typed at sign-up opens nothing: the password is chosen by whoever reads the letter."""
    browser = open_world.client()
    browser.get("/signup")
    browser.post("/signup", {"email": NEW, "account_name": "Beans", "password": "chosen by a stranger"})
    join(open_world, link(open_world))
    assert open_world.client().submit("/login", email=NEW, password="chosen by a stranger").status_code == 200
    assert open_world.client().submit("/login", email=NEW, password=NEW_PASSWORD).location == "/"


def test_it_says_nothing_of_other_accounts_by_their_names(open_world: World) -> None:
    assert sign_up(open_world, account_name="Acme").status_code == 200
    assert sign_up(open_world, "second@beans.test", account_name="Acme").status_code == 200
    assert names(open_world) == {"Acme", "Other", "Acme (2)", "Acme (3)"}


def test_the_second_of_two_sign_ups_is_as_good_as_the_first(open_world: World) -> None:
    sign_up(open_world)
    first = link(open_world)
    sign_up(open_world, account_name="Beans again")
    join(open_world, link(open_world))
    answer = open_world.client().get(first)
    assert answer.status_code == 404
    assert "has a login already" in answer.get_data(as_text=True)


@pytest.mark.parametrize(
    ("email", "account_name", "words"),
    [
        ("", "Beans", "Enter your email address"),
        ("nobody", "Beans", "aria-invalid"),
        (NEW, "", "Give the account a name"),
        (NEW, "Cheap pills www.x.example", "no web address"),
        (NEW, "a\r\nBcc: x@y.test", "single line"),
    ],
)
def test_it_names_what_is_wrong(open_world: World, email: str, account_name: str, words: str) -> None:
    answer = sign_up(open_world, email, account_name)
    assert answer.status_code == 422
    assert words in answer.get_data(as_text=True)
    assert letters(open_world) == []


def test_it_takes_only_so_many_from_one_place(open_world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("panel.web.evenly.AT_LEAST", 0)
    here = [sign_up(open_world, f"n{number}@beans.test").status_code for number in range(10)]
    assert here == [200] * 10
    refused = sign_up(open_world)
    assert refused.status_code == 429
    assert int(refused.headers["Retry-After"]) > 0
    assert re.search(r"Go on in \d+ minutes", refused.get_data(as_text=True))
    elsewhere = sign_up(open_world, environ_base={"REMOTE_ADDR": "192.0.2.7"})
    assert elsewhere.status_code == 200


def test_a_network_of_one_customer_is_one_place(open_world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("panel.web.evenly.AT_LEAST", 0)
    answers = [
        sign_up(open_world, f"n{number}@beans.test", environ_base={"REMOTE_ADDR": f"2001:db8:1:2::{number:x}"})
        for number in range(11)
    ]
    assert [answer.status_code for answer in answers] == [200] * 10 + [429]


def test_it_fills_nobodys_inbox(open_world: World) -> None:
    pages = {plain(sign_up(open_world)) for _ in range(4)}
    assert len(pages) == 1
    assert len(letters(open_world)) == 3


def test_it_leaves_no_address_in_redis(open_world: World, redis_client: Any) -> None:
    sign_up(open_world, environ_base={"REMOTE_ADDR": "192.0.2.7"})
    keys = [key.decode() for key in redis_client.keys("*limit*")]
    assert keys
    assert not [key for key in keys if NEW in key or "192.0.2.7" in key]


def tick(world: World) -> None:
    with world.app.app_context():
        ticker._tick(world.settings)


def test_it_forgets_accounts_that_nobody_confirmed(open_world: World) -> None:
    world = open_world
    sign_up(world)
    sign_up(world, "quick@beans.test", "Quick")
    join(world, link(world))
    age(world, days=8)
    tick(world)
    assert names(world) == {"Acme", "Other", "Quick"}
    assert count(world, Invitation) == 0


def test_it_keeps_a_sign_up_while_its_link_works_and_invitations_longer(open_world: World) -> None:
    world = open_world
    sign_up(world)
    with world.acme_scope(), world.app.test_request_context():
        service.invite("late@acme.test", "member", service.By())
    age(world, days=6)
    tick(world)
    assert names(world) == {"Acme", "Other", "Beans"}
    age(world, days=8)
    tick(world)
    assert names(world) == {"Acme", "Other"}
    with world.acme_scope():
        assert len(service.invitations()) == 1
    age(world, days=29)
    tick(world)
    assert count(world, Invitation) == 0


def age(world: World, *, days: int) -> None:
    with db.system_scope("tests"), db.transaction() as session:
        session.execute(update(Invitation).values(sent_at=db.now() - dt.timedelta(days=days)))


def test_of_two_who_want_a_name_at_once_both_get_one(open_world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    free, calls = signup._free, []

    def too_late(name: str) -> str:
        calls.append(name)
        return "Acme" if len(calls) == 1 else free(name)

    monkeypatch.setattr(signup, "_free", too_late)
    assert sign_up(open_world, account_name="Acme").status_code == 200
    assert "Acme (2)" in names(open_world)


def test_the_public_url_is_what_links_are_made_of(open_world: World) -> None:
    browser: Browser = open_world.client()
    browser.get("/signup", base_url="http://evil.example")
    browser.post("/signup", {"email": NEW, "account_name": "Beans"}, base_url="http://evil.example")
    [letter] = letters(open_world)
    assert "evil.example" not in letter.values["text"] + letter.values["html"]
