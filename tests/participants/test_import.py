"""Importing participants from a file: chosen, looked at, done."""

from __future__ import annotations

import csv
import datetime as dt
import io
import re
import threading
import uuid

import pytest
from sqlalchemy import func, select, update

from panel import db
from panel.accounts.models import AuditEntry
from panel.campaigns import service as campaigns
from panel.campaigns.service import Campaign, Details
from panel.outbox.service import Delivery
from panel.participants import importing
from panel.participants import service as participants
from panel.participants.models import Import, Participant
from panel.suppressions import service as suppressions
from tests.participants.files import carry_out, choose, fact, people
from tests.support.world import World


def test_it_shows_what_a_file_would_do_and_then_does_it(world: World, campaign: Campaign, path: str) -> None:
    with world.acme_scope():
        participants.ensure_referrer(campaign.id, "known@example.com", "Known")
    browser = world.client(world.owner)
    content = (
        "E-Mail,First Name,SURNAME,Shoe size\n"
        "Robin@Example.com,Robin,Meyer,42\n"
        "known@example.com,Other,Name,43\n"
        "robin@example.com,Again,Again,44\n"
        "nobody,No,Body,45\n"
        "zoë@bücher.example,x,y,46\n"
        "dana@bücher.example,Dana,=1+1,46\n"
    )
    chosen = choose(browser, path, content)
    assert chosen.status_code == 303
    assert people(world, campaign) == [("known@example.com", "Known", "")]
    page = browser.get(chosen.location).text
    assert fact(page, "New") == "2 people"
    assert fact(page, "Here already") == "1 person"
    assert fact(page, "Cannot be imported") == "2 lines"
    assert "the first counts" in (fact(page, "Repeated") or "")
    assert fact(page, "Columns left out") == "Shoe size"
    assert "No email is sent" in page
    done = browser.post(chosen.location, {"existing": "leave"})
    page = browser.get(done.location).text
    # Each of the six lines is in one of these.
    assert [fact(page, term) for term in ("Added", "Left as they were", "Repeated", "Not imported")] == [
        "2 people",
        "1 person",
        "1 line has an address that a line above has, too: the first counts",
        "2 lines",
    ]
    assert people(world, campaign) == [
        ("robin@example.com", "Robin", "Meyer"),
        ("dana@xn--bcher-kva.example", "Dana", "=1+1"),
        ("known@example.com", "Known", ""),
    ]
    with world.acme_scope() as session:
        found = participants.find(campaign.id, "robin@example.com")
        assert found is not None
        assert found.joined_at is not None
        assert re.fullmatch("[0-9A-HJKMNP-TV-Z]{8}", found.referral_code)
        assert session.scalar(select(func.count()).select_from(Delivery)) == 0


def test_it_gives_the_lines_that_are_wrong_back_as_no_formulas(world: World, path: str) -> None:
    browser = world.client(world.owner)
    page = carry_out(
        browser, path, "first name;email\n=1+1;nobody\n@x;\nGood;good@example.com\n" + "x" * 101 + ";a@b.example\n"
    )
    url = re.search(r'href="([^"]+lines\.csv)"', page)
    assert url is not None
    answer = browser.get(url[1])
    assert answer.mimetype == "text/csv"
    assert answer.data.startswith(b"\xef\xbb\xbf")
    rows = list(csv.reader(io.StringIO(answer.data.decode("utf-8-sig"))))
    assert rows[0] == ["first name", "email", "Line", "What is wrong"]
    assert [row[:3] for row in rows[1:]] == [
        ["'=1+1", "nobody", "2"],
        ["'@x", "", "3"],
        ["x" * 101, "a@b.example", "5"],
    ]
    assert "@-sign" in rows[1][3]
    assert rows[2][3] == "“email” is empty."
    assert rows[3][3] == "“first name” is 101 characters long; at most 100 fit."
    # What was taken away can be mended and brought back as it is.
    again = answer.data.replace(b"nobody", b"some@body.example")
    assert fact(carry_out(browser, path, again), "Added") == "1 person"


def test_lines_that_were_mended_come_back_as_they_were(world: World, campaign: Campaign, path: str) -> None:
    """What keeps spreadsheets from taking an address or a name for a formula is no part of it."""
    browser = world.client(world.owner)
    long = "x" * 101
    content = f"email,first,last\n+ana@example.com,-,{long}\n=bo@example.com,@nick,{long}\n'cy@example.com,',{long}\n"
    page = carry_out(browser, path, content)
    url = re.search(r'href="([^"]+lines\.csv)"', page)
    assert url is not None
    lines = browser.get(url[1]).data
    assert b"'+ana@example.com,'-," in lines
    # Once more the wrong line is told of as it was, and taken away as before.
    again = browser.get(choose(browser, path, lines).location)
    assert "+ana@example.com | - | " in again.text
    carry_out(browser, path, lines.replace(long.encode(), b"Last"))
    assert people(world, campaign) == [
        ("+ana@example.com", "-", "Last"),
        ("=bo@example.com", "@nick", "Last"),
        ("'cy@example.com", "'", "Last"),
    ]


def test_it_leaves_or_changes_those_who_are_there(world: World, campaign: Campaign, path: str) -> None:
    with world.acme_scope():
        robin, _ = participants.ensure_referrer(campaign.id, "robin@example.com", "Robin", "Meyer")
        participants.ensure_friend(campaign.id, robin, "friend@example.com", "Fi")
    browser = world.client(world.owner)
    content = "email,first name,last name\nrobin@example.com,Robyn,\nfriend@example.com,Fi,\n"
    assert fact(carry_out(browser, path, content), "Left as they were") == "2 people"
    with world.acme_scope():
        friend = participants.find(campaign.id, "friend@example.com")
        assert friend is not None
        assert friend.joined_at is None
    page = carry_out(browser, path, content, existing="update")
    assert (fact(page, "Added"), fact(page, "Changed"), fact(page, "Left as they were")) == (
        "0 people",
        "2 people",
        None,
    )
    with world.acme_scope():
        changed = participants.find(campaign.id, "robin@example.com")
        friend = participants.find(campaign.id, "friend@example.com")
        assert changed is not None
        assert friend is not None
        assert (changed.first_name, changed.last_name, changed.referral_code) == ("Robyn", "Meyer", robin.referral_code)
        assert (friend.joined_at is None, friend.referred_by) == (False, robin.id)
    page = carry_out(browser, path, content, existing="update")
    assert (fact(page, "Changed"), fact(page, "Left as they were")) == (None, "2 people")


def test_it_leaves_suppressions_as_they_are(world: World, campaign: Campaign, path: str) -> None:
    with world.acme_scope():
        suppressions.add("gone@example.com", campaign_id=campaign.id)
    carry_out(world.client(world.owner), path, "email\ngone@example.com\n")
    with world.acme_scope():
        assert suppressions.is_suppressed("gone@example.com", campaign.id) is not None


def test_it_writes_down_how_many_and_not_who(world: World, campaign: Campaign, path: str) -> None:
    carry_out(world.client(world.owner), path, "email\nrobin@example.com\nnobody\n")
    with world.acme_scope() as session:
        [entry] = session.scalars(select(AuditEntry).where(AuditEntry.action == "participants.imported"))
        assert (entry.actor, entry.subject) == ("owner@acme.test", "Spring")
        assert entry.details == {"added": 1, "changed": 0, "left_as_they_were": 0, "bad_lines": 1, "not_reached": 0}
        assert all("robin" not in str(one.details) for one in session.scalars(select(AuditEntry)))


def test_it_imports_many_in_the_order_of_the_file(world: World, campaign: Campaign, path: str) -> None:
    browser = world.client(world.owner)
    lines = ["email,first name\n", *(f"p{n}@example{n % 700}.com,A\n" for n in range(2_500))]
    assert fact(carry_out(browser, path, "".join(lines)), "Added") == "2,500 people"
    assert [email for email, _, _ in people(world, campaign)[:2]] == ["p0@example0.com", "p1@example1.com"]
    page = carry_out(browser, path, "".join(lines).replace(",A", ",B"), existing="update")
    assert (fact(page, "Added"), fact(page, "Changed")) == ("0 people", "2,500 people")
    with world.acme_scope() as session:
        assert set(session.scalars(select(Participant.first_name))) == {"B"}


def test_it_is_for_owners_of_the_account_alone(world: World, campaign: Campaign, path: str) -> None:
    owner = world.client(world.owner)
    url = choose(owner, path, "email\nrobin@example.com\nnobody\n").location
    urls = [path, f"{path}/sample.csv", url, f"{url}/lines.csv"]
    assert [owner.get(each).status_code for each in urls] == [200] * 4
    for user, status in ((world.member, 403), (world.stranger, 404)):
        browser = world.client(user)
        assert [browser.get(each).status_code for each in urls] == [status] * 4
        assert choose(browser, path, "email\nx@example.com\n").status_code == status
        assert browser.post(url, {"existing": "leave"}).status_code == status
        assert browser.post(f"{url}/discard").status_code == status
    assert 'participants/import"' not in world.client(world.member).get(path.removesuffix("/import")).text
    assert people(world, campaign) == []


def test_it_finds_no_file_of_another_campaign(world: World, path: str) -> None:
    with world.acme_scope():
        other = campaigns.create(Details(name="B", company_name="Acme", referral_url="https://b.example/"))
    browser = world.client(world.owner)
    url = choose(browser, path, "email\nrobin@example.com\n").location
    there = f"/campaigns/{other.id}/participants/import/{url.rpartition('/')[2]}"
    assert browser.get(there).status_code == 404
    assert browser.post(there, {"existing": "leave"}).status_code == 404


def test_it_does_it_once_however_often_it_is_pressed(world: World, campaign: Campaign, path: str) -> None:
    browser = world.client(world.owner)
    url = choose(browser, path, "email\nrobin@example.com\n").location
    for _ in range(2):
        assert browser.submit(url, existing="leave").status_code == 303
    with world.acme_scope() as session:
        entries = select(func.count()).select_from(AuditEntry).where(AuditEntry.action == "participants.imported")
        assert session.scalar(entries) == 1
    assert fact(browser.get(url).text, "Added") == "1 person"


def test_it_throws_a_file_away_at_a_word_in_time_and_with_a_person(world: World, campaign: Campaign, path: str) -> None:
    browser = world.client(world.owner)
    url = choose(browser, path, "email\nrobin@example.com\n").location
    assert browser.submit(f"{url}", existing="").status_code == 422
    assert browser.post(f"{url}/discard").location == path.removesuffix("/import")
    assert browser.get(url).status_code == 404

    url = choose(browser, path, "email\nrobin@example.com\n").location
    with world.acme_scope() as session, db.transaction():
        session.execute(update(Import).values(made_at=db.now() - dt.timedelta(minutes=66)))
    assert browser.get(url).status_code == 404
    assert browser.post(url, {"existing": "leave"}).status_code == 404
    participants.tick()
    with world.acme_scope() as session:
        assert session.scalar(select(func.count()).select_from(Import)) == 0

    choose(browser, path, "email\nrobin@example.com\n")
    with world.acme_scope() as session:
        person, _ = participants.ensure_referrer(campaign.id, "robin@example.com")
        with db.transaction():
            participants.remove(person)
        assert session.scalar(select(func.count()).select_from(Import)) == 0


def test_it_asks_for_a_file_again_whose_hour_is_over(world: World, campaign: Campaign, path: str) -> None:
    """Whether the ticker has come by already or not."""
    browser = world.client(world.owner)
    url = choose(browser, path, "email\nrobin@example.com\nnobody\n").location
    for minutes in (61, 66):
        with world.acme_scope() as session, db.transaction():
            session.execute(update(Import).values(made_at=db.now() - dt.timedelta(minutes=minutes)))
        participants.tick()
        for answer in (
            browser.get(url),
            browser.get(f"{url}/lines.csv"),
            browser.post(f"{url}/discard"),
            browser.post(url, {"existing": "leave"}),
        ):
            assert answer.status_code == 404
            assert "its hour is over" in answer.text
            assert f'action="{path}" method="post" enctype="multipart/form-data"' in answer.text
    assert people(world, campaign) == []
    # Whoever has no such campaign is told nothing of files.
    assert "its hour is over" not in world.client(world.stranger).get(url).text


def test_it_keeps_whom_somebody_else_adds_at_the_same_time(
    world: World, campaign: Campaign, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody comes in between the look at who is there and the writing."""
    browser = world.client(world.owner)
    url = choose(browser, path, "email,first name\nrobin@example.com,File\ndana@example.com,File\n").location
    known = importing._known
    came: list[threading.Thread] = []

    def come_in() -> None:
        with world.app.app_context(), db.account_scope(world.acme.id):
            participants.ensure_referrer(campaign.id, "robin@example.com", "Event")

    def look_and_let_come(campaign_id: uuid.UUID, emails: list[str]) -> object:
        found = known(campaign_id, emails)
        if not came:
            came.append(threading.Thread(target=come_in))
            came[0].start()
            # On SQLite they wait until the import is done.
            came[0].join(None if db.session().get_bind().dialect.name == "postgresql" else 0)
        return found

    monkeypatch.setattr(importing, "_known", look_and_let_come)
    browser.post(url, {"existing": "leave"})
    came[0].join()
    with world.acme_scope() as session:
        names = dict(session.execute(select(Participant.email, Participant.first_name)).all())
        first = "Event" if session.get_bind().dialect.name == "postgresql" else "File"
    assert names == {"robin@example.com": first, "dana@example.com": "File"}
