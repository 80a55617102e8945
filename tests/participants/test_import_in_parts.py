"""An import in many short transactions: broken off, gone on with, thrown away half done; nothing of it left unsaid."""

from __future__ import annotations

import datetime as dt
import io
import threading
import tracemalloc
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import func, select, update
from sqlalchemy.exc import IntegrityError

from panel import db
from panel.accounts.models import AuditEntry
from panel.campaigns.service import Campaign
from panel.participants import importing, keeping
from panel.participants import service as participants
from panel.participants.models import Import, Participant
from panel.web import limits
from tests.participants.files import choose, fact, people
from tests.support.world import Browser, World

CONTENT = "email,first name\nnobody,x\n" + "".join(f"p{n}@example.com,A\n" for n in range(25))

# As if pieces were small, and each transaction took one.
pytestmark = pytest.mark.usefixtures("small_pieces")


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "PIECE", 10)
    monkeypatch.setattr(importing, "PIECE", 10)
    monkeypatch.setattr(importing, "_TOGETHER", 0.0)


@pytest.fixture
def break_off(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """This many pieces are let through from now on; at the next one the import breaks off."""

    class PulledOut(Exception):
        pass

    begun: list[int] = []
    let_through = [1_000]
    real = importing._import

    def import_(*args: Any, **kwargs: Any) -> None:
        begun.append(1)
        if len(begun) > let_through[0]:
            raise PulledOut
        real(*args, **kwargs)

    monkeypatch.setattr(importing, "_import", import_)

    def set_(count: int) -> None:
        begun.clear()
        let_through[0] = count

    return set_


def begin(browser: Browser, path: str, break_off: Callable[[int], None], existing: str = "leave") -> str:
    """An import that was broken off after 5 people; where it is."""
    url = choose(browser, path, CONTENT).location
    break_off(1)
    browser.get(url)
    assert browser.post(url, {"existing": existing}).status_code == 500
    break_off(1_000)
    return str(url)


def told(world: World) -> list[dict[str, Any]]:
    with world.acme_scope() as session:
        entries = select(AuditEntry).where(AuditEntry.action == "participants.imported").order_by(AuditEntry.at)
        return [entry.details for entry in session.scalars(entries)]


def test_it_goes_on_where_it_was_broken_off(
    world: World, campaign: Campaign, path: str, break_off: Callable[[int], None]
) -> None:
    world.app.config["PROPAGATE_EXCEPTIONS"] = False
    browser = world.client(world.owner)
    url = begin(browser, path, break_off)
    page = browser.get(url).text
    assert "Imported in part" in page
    assert "Nobody is added yet" not in page
    assert (fact(page, "Dealt with"), fact(page, "New")) == ("5 of 25 people", "20 people")
    assert told(world) == []
    assert browser.submit(url, existing="leave").status_code == 303
    page = browser.get(url).text
    assert (fact(page, "Added"), fact(page, "Left as they were")) == ("25 people", None)
    assert told(world) == [{"added": 25, "changed": 0, "left_as_they_were": 0, "bad_lines": 1, "not_reached": 0}]
    assert [email for email, _, _ in people(world, campaign)[:2]] == ["p0@example.com", "p1@example.com"]
    with world.acme_scope() as session:
        in_order = select(Participant.email).order_by(Participant.made_at.desc())
        assert list(session.scalars(in_order)) == [f"p{n}@example.com" for n in range(25)]


@pytest.mark.parametrize(("first", "then"), [("leave", "update"), ("update", "leave")])
def test_it_goes_on_with_the_choice_with_which_it_was_begun(
    world: World, campaign: Campaign, path: str, break_off: Callable[[int], None], first: str, then: str
) -> None:
    world.app.config["PROPAGATE_EXCEPTIONS"] = False
    with world.acme_scope():
        for number in range(25):
            participants.ensure_referrer(campaign.id, f"p{number}@example.com", "Before")
    browser = world.client(world.owner)
    url = begin(browser, path, break_off, existing=first)
    page = browser.get(url).text
    assert 'type="radio"' not in page
    assert fact(page, "Who is here already") == ("gets the names in the file" if first == "update" else "stays as is")
    assert browser.post(url, {"existing": then}).status_code == 303
    page = browser.get(url).text
    counts = (fact(page, "Changed"), fact(page, "Left as they were"))
    assert counts == (("25 people", None) if first == "update" else (None, "25 people"))
    assert {name for _, name, _ in people(world, campaign)} == {"A" if first == "update" else "Before"}


def test_others_write_while_a_large_import_goes_on(
    world: World, campaign: Campaign, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody adds a person between two of its transactions."""
    browser = world.client(world.owner)
    url = choose(browser, path, CONTENT).location
    came: list[int] = []

    def come_in() -> None:
        with world.acme_scope() as session:
            came.append(session.scalar(select(func.count()).select_from(Participant)) or 0)
            participants.ensure_referrer(campaign.id, "p0@example.com", "Event")

    def breathe() -> None:
        if not came:
            thread = threading.Thread(target=come_in)
            thread.start()
            thread.join()

    monkeypatch.setattr(db, "breathe", breathe)
    browser.submit(url, existing="leave")
    assert came == [5]
    page = browser.get(url).text
    assert (fact(page, "Added"), fact(page, "Left as they were")) == ("24 people", "1 person")


def test_it_says_how_far_it_came_when_its_file_goes_with_a_person(
    world: World, campaign: Campaign, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser = world.client(world.owner)
    url = choose(browser, path, CONTENT).location

    def delete_somebody() -> None:
        with world.acme_scope(), db.transaction():
            person = participants.find(campaign.id, "p24@example.com")
            assert person is not None
            participants.remove(person)

    def breathe() -> None:
        thread = threading.Thread(target=delete_somebody)
        thread.start()
        thread.join()

    monkeypatch.setattr(db, "breathe", breathe)
    answer = browser.submit(url, existing="leave")
    assert answer.location == path
    assert "Choose the file again to import the rest" in browser.get(path).text
    assert told(world) == [{"added": 5, "changed": 0, "left_as_they_were": 0, "bad_lines": 1, "not_reached": 20}]
    with world.acme_scope() as session:
        assert session.scalar(select(func.count()).select_from(Import)) == 0
        assert session.scalar(select(func.count()).select_from(Participant)) == 4


def test_a_file_that_goes_after_a_collision_is_told_of(
    world: World, campaign: Campaign, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is thrown away before the second try."""
    browser = world.client(world.owner)
    url = choose(browser, path, CONTENT).location
    real = importing._go_on

    def throw_away() -> None:
        with world.acme_scope():
            importing.discard(importing.get(campaign.id, uuid.UUID(url.rpartition("/")[2])))

    def collide(*_: Any, **__: Any) -> bool:
        monkeypatch.setattr(importing, "_go_on", real)
        try:
            with db.transaction():
                raise IntegrityError("INSERT", None, Exception("somebody else was first"))
        finally:
            thread = threading.Thread(target=throw_away)
            thread.start()
            thread.join()

    monkeypatch.setattr(importing, "_go_on", collide)
    answer = browser.submit(url, existing="leave")
    assert (answer.status_code, answer.location) == (303, path)
    assert "Choose the file again to import the rest" in browser.get(path).text
    assert people(world, campaign) == []


def aged(world: World, **values: int) -> None:
    """So many minutes have passed since then."""
    with world.acme_scope() as session, db.transaction():
        then = {name: db.now() - dt.timedelta(minutes=minutes) for name, minutes in values.items()}
        session.execute(update(Import).values(then))


def test_what_came_of_an_import_that_ends_after_its_hour_is_told_for_a_while(
    world: World, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser = world.client(world.owner)
    url = choose(browser, path, CONTENT).location

    def breathe() -> None:
        thread = threading.Thread(target=aged, args=(world,), kwargs={"made_at": 64})
        thread.start()
        thread.join()

    monkeypatch.setattr(db, "breathe", breathe)
    answer = browser.submit(url, existing="leave")
    assert answer.status_code == 303
    aged(world, made_at=68, ended_at=4)
    participants.tick()
    page = browser.get(answer.location)
    assert (page.status_code, fact(page.text, "Added")) == (200, "25 people")
    assert browser.get(f"{url}/lines.csv").status_code == 200
    aged(world, ended_at=6)
    assert browser.get(url).status_code == 404
    participants.tick()
    with world.acme_scope() as session:
        assert session.scalar(select(func.count()).select_from(Import)) == 0


def test_it_says_how_far_it_came_when_it_is_thrown_away_by_hand_or_in_time(
    world: World, path: str, break_off: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    world.app.config["PROPAGATE_EXCEPTIONS"] = False
    browser = world.client(world.owner)
    url = begin(browser, path, break_off)
    browser.submit(f"{url}", existing="nonsense")
    page = browser.get(browser.post(f"{url}/discard").location).text
    assert "Whom it had dealt with stays." in page
    begin(browser, path, break_off)
    monkeypatch.setattr(importing, "KEPT", -importing._GRACE - 60)
    participants.tick()
    assert [(each["added"], each["left_as_they_were"], each["not_reached"]) for each in told(world)] == [
        (5, 0, 20),
        (0, 5, 20),
    ]


def test_a_look_during_which_the_import_ends_shows_people_and_no_lines(
    world: World, campaign: Campaign, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end takes the people out of what is kept of the file."""
    browser = world.client(world.owner)
    url = choose(browser, path, CONTENT).location
    real = importing.look

    def carry_out() -> None:
        with world.acme_scope():
            importing.carry_out(importing.get(campaign.id, uuid.UUID(url.rpartition("/")[2])), overwrite=False)

    def look(waiting: Import) -> importing.Look:
        thread = threading.Thread(target=carry_out)
        thread.start()
        thread.join()
        return real(waiting)

    monkeypatch.setattr(importing, "look", look)
    page = browser.get(url)
    assert page.status_code == 200
    assert '<th scope="row">p0@example.com</th>' in page.text
    assert '<th scope="row">2</th><td data-label="First name">' not in page.text
    monkeypatch.undo()
    assert fact(browser.get(url).text, "Added") == "25 people"


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_look_unpacks_no_more_than_a_piece_at_a_time(world: World, campaign: Campaign) -> None:
    lines = [f"nobody,{'x' * 1_000}\n" for _ in range(2_000)]
    with world.acme_scope():
        file = io.BytesIO("".join(["email,name\n", *lines]).encode())
        waiting = importing.get(campaign.id, importing.take(campaign.id, file, "f.csv"))
        assert len(waiting.upload) < 200_000
        tracemalloc.start()
        try:
            assert len(importing.look(waiting).bad) == importing.SHOWN
            assert tracemalloc.get_traced_memory()[1] < 1_000_000
        finally:
            tracemalloc.stop()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_looks_are_counted(world: World, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_LOOKS", "2/minute")
    browser = world.client(world.owner)
    url = choose(browser, path, "email\nrobin@example.com\nnobody\n").location
    assert [browser.get(each).status_code for each in (url, f"{url}/lines.csv", url)] == [200, 200, 429]
    assert browser.get(f"{url}/lines.csv").status_code == 429
    answer = browser.post(url, {"existing": "leave"})
    assert answer.status_code == 429
    assert "Come back in" in answer.text
    assert int(answer.headers["Retry-After"]) > 0
