"""An account that is deleted: it stops at once, may be kept for days, and then nothing of it is left."""

from __future__ import annotations

import datetime as dt
import threading
import uuid
from collections.abc import Callable, Iterator

import pytest
import redis
import time_machine
from sqlalchemy import Table, select, text, update
from structlog.testing import capture_logs

from panel import db, live, previews
from panel.accounts import service as accounts
from panel.accounts.models import Account
from panel.data import erasing
from panel.data import service as data
from panel.outbox.models import Delivery
from panel.participants import service as participants
from panel.servers.models import MailServer as MailServerRow
from panel.settings import invitations
from panel.web import limits
from tests.data.content import rows_of, somebody_waits
from tests.deliveries.conftest import Post
from tests.events.conftest import JOINED, Api, new_key
from tests.settings.conftest import join, link
from tests.support.mailserver import MailServer
from tests.support.wait import wait_for
from tests.support.world import PASSWORD, Browser


def close(browser: Browser, **fields: str) -> str:
    browser.get("/settings/data")
    given = {"name": "Acme", "password": PASSWORD, **fields}
    return browser.post("/settings/account/delete", given, follow_redirects=True).get_data(as_text=True)


def a_week_later(post: Post) -> None:
    with db.system_scope("tests"), db.transaction() as session:
        session.execute(update(Account).where(Account.deletion_at.is_not(None)).values(deletion_at=db.clock(-1)))


def tick(post: Post) -> None:
    with post.world.app.app_context():
        data.tick()


def subjects(post: Post) -> list[tuple[str, str]]:
    with post.world.acme_scope() as session:
        found = session.scalars(select(Delivery).where(Delivery.kind == "system").order_by(Delivery.id))
        return [(row.to_address, row.values["subject"]) for row in found]


def test_it_asks_for_the_name_and_the_password(post: Post):
    browser = post.world.client(post.world.owner)
    assert "Type the name as it is written here: Acme" in close(browser, name="Acme Coffee")
    page = close(browser, password="not the password")
    assert "That is not your password." in page
    assert 'value="Acme"' in page
    assert "Enter your password." in close(browser, password="")
    assert rows_of(post.world.acme.id)["accounts"] == 1
    with post.world.acme_scope() as session:
        assert session.get_one(Account, post.world.acme.id).deletion_at is None


def test_it_stops_sending_at_once_and_tells_the_owners(post: Post):
    post.join()
    browser = post.world.client(post.world.owner)
    page = close(browser)
    assert "The account is closed and sends nothing more." in page
    post.send()
    told = {each for letter in post.platform.messages for each in letter.recipients}
    assert told == {"owner@acme.test"}  # the letter about it, and none of the campaign's
    [(to, subject)] = subjects(post)
    assert to == "owner@acme.test"
    assert subject.startswith("Acme will be deleted on ")
    with post.world.acme_scope() as session:
        states = set(session.scalars(select(Delivery.state).where(Delivery.kind != "system")))
    assert states == {"held"}
    assert "This account is closed and sends nothing" in browser.get("/").get_data(as_text=True)
    member = post.world.client(post.world.member)
    assert "This account is closed and sends nothing" in member.get("/").get_data(as_text=True)


def test_an_owner_may_keep_it_and_what_waits_goes_out(post: Post):
    post.join()
    browser = post.world.client(post.world.owner)
    close(browser)
    post.send()
    page = browser.post("/settings/account/keep", follow_redirects=True).get_data(as_text=True)
    assert "The account stays." in page
    post.world.tick()
    post.send()
    told = {each for letter in post.platform.messages for each in letter.recipients}
    assert told == {"owner@acme.test", "robin@friends.test"}
    a_week_later(post)
    tick(post)
    assert rows_of(post.world.acme.id)["accounts"] == 1


def test_the_password_cannot_be_tried_there_by_the_thousand(post: Post):
    browser = post.world.client(post.world.owner)
    for _ in range(5):
        assert "That is not your password." in close(browser, name="wrong", password="not the password")
    page = close(browser, name="wrong", password=PASSWORD)
    assert "That was a lot of wrong passwords in a short time." in page
    with post.world.acme_scope() as session:
        assert session.get_one(Account, post.world.acme.id).deletion_at is None


def test_nobody_keeps_an_account_that_is_being_deleted_nor_puts_that_off(post: Post):
    browser = post.world.client(post.world.owner)
    close(browser)
    a_week_later(post)
    page = browser.post("/settings/account/keep", follow_redirects=True).get_data(as_text=True)
    assert "too late to keep the account" in page
    close(browser)
    tick(post)
    assert rows_of(post.world.acme.id)["accounts"] == 0


def test_nothing_is_left_when_its_time_has_come(post: Post, redis_client: redis.Redis):
    with MailServer() as own:
        post.use(own)
        post.join()
        post.join("second@friends.test")
        post.send()
        _refer(post)
        with post.world.acme_scope(), post.world.app.test_request_context():
            live.publish(post.world.acme.id, "task", {"kind": "x"})
            limits.hit_tests(post.world.acme.id)
            previews.keep("<p>a letter</p>")
        other = rows_of(post.world.other.id)
        browser = post.world.client(post.world.owner)
        close(browser)
        tick(post)
        assert rows_of(post.world.acme.id)["deliveries"] > 0  # not yet
        with post.world.acme_scope() as session:
            server_id = str(session.scalars(select(MailServerRow.id)).one())
        a_week_later(post)
        tick(post)
    assert {name: count for name, count in rows_of(post.world.acme.id).items() if count} == {}
    assert rows_of(post.world.other.id) == other
    keys = [key.decode() for key in redis_client.keys("*")]
    assert [key for key in keys if str(post.world.acme.id) in key or server_id in key] == []
    assert browser.get("/").status_code == 302  # to the sign-in


def _refer(post: Post) -> None:
    """Rows that point to others of their own table."""
    with post.world.acme_scope(), db.transaction() as session:
        robin = participants.find(post.campaign_id, "robin@friends.test")
        assert robin is not None
        participants.ensure_friend(post.campaign_id, robin, "fi@friends.test")
        first, second = session.scalars(select(Delivery).order_by(Delivery.id).limit(2))
        second.resend_of = first.id
        first.resend_of = second.id


def test_a_letter_in_a_workers_hands_ends_first(post: Post):
    post.join()
    with post.world.acme_scope(), db.transaction() as session:
        session.execute(update(Delivery).values(lease_owner="a worker", lease_until=db.clock(60)))
    close(post.world.client(post.world.owner))
    a_week_later(post)
    tick(post)
    assert rows_of(post.world.acme.id)["accounts"] == 1
    with db.system_scope("tests"), db.transaction() as session:
        session.execute(update(Delivery).values(lease_owner=None, lease_until=None))
    tick(post)
    assert rows_of(post.world.acme.id)["accounts"] == 0


def before_each_piece(monkeypatch: pytest.MonkeyPatch, do: Callable[[str], object]) -> None:
    """Has something done just before some rows of a table are deleted."""
    piece = erasing._piece

    def meanwhile(table: Table, account_id: uuid.UUID) -> bool:
        do(table.name)
        return piece(table, account_id)

    monkeypatch.setattr(erasing, "_piece", meanwhile)


def test_what_comes_in_meanwhile_goes_too(post: Post, monkeypatch: pytest.MonkeyPatch):
    """From a call that was under way when it began: its letters point to rows that are to go."""
    post.join()
    came: list[str] = []

    def come(table: str) -> None:
        if table == "notification_versions" and not came:
            came.append(table)
            post.join("late@friends.test")

    before_each_piece(monkeypatch, come)
    with post.world.app.app_context():
        data.delete_now(post.world.acme.id)
    assert came
    assert {name: count for name, count in rows_of(post.world.acme.id).items() if count} == {}


@pytest.fixture
def obstacle(post: Post) -> Iterator[None]:
    """A row of no table that the program knows points to one of the account's."""
    with db.engine().begin() as connection:
        kind = "UUID" if connection.dialect.name == "postgresql" else "CHAR(32)"
        connection.execute(text(f"CREATE TABLE in_the_way (campaign_id {kind} REFERENCES campaigns (id))"))
        connection.execute(text("INSERT INTO in_the_way SELECT id FROM campaigns"))
    yield
    with db.engine().begin() as connection:
        connection.execute(text("DROP TABLE in_the_way"))


@pytest.mark.usefixtures("obstacle")
def test_what_stands_in_its_way_is_told_and_ends_the_command(post: Post, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(data, "_BETWEEN_TRIES", 0.0)
    with post.world.app.app_context(), capture_logs() as logs, pytest.raises(data.Collided):
        data.delete_now(post.world.acme.id)
    told = [(one["event"], one["account"], one["at"]) for one in logs]
    assert told == [("an account's deletion collided", str(post.world.acme.id), "campaigns")] * data._TRIES
    tick(post)  # which is not broken by it
    assert rows_of(post.world.acme.id)["accounts"] == 1


def test_nobody_comes_in_once_it_has_begun(post: Post, monkeypatch: pytest.MonkeyPatch):
    """Neither does an owner keep what is half deleted."""
    monkeypatch.setattr(data, "_BUDGET", -1.0)
    post.join()
    browser = post.world.client(post.world.owner)
    close(browser)
    program = Api(post.world.app.test_client(), new_key(post.world.acme.id))
    told: set[int] = set()
    before_each_piece(monkeypatch, lambda _: told.add(program.report(JOINED).status_code))
    a_week_later(post)
    tick(post)
    assert browser.post("/settings/account/keep").location.startswith("/login")
    while rows_of(post.world.acme.id)["accounts"]:
        tick(post)
    assert told == {401}


def test_who_keeps_it_just_before_it_begins_keeps_all_of_it(post: Post, monkeypatch: pytest.MonkeyPatch):
    """As where the web process's clock is behind the database's."""
    post.join()
    browser = post.world.client(post.world.owner)
    close(browser)
    a_week_later(post)
    before: list[dict[str, int]] = []
    found = accounts.due_for_deletion

    def keep_meanwhile() -> list[uuid.UUID]:
        due = found()
        with db.system_scope("tests"), db.transaction() as session:
            session.execute(update(Account).values(deletion_at=None))
        before.append(rows_of(post.world.acme.id))
        return due

    monkeypatch.setattr(accounts, "due_for_deletion", keep_meanwhile)
    tick(post)
    assert [rows_of(post.world.acme.id)] == before
    assert browser.get("/").status_code == 200


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_who_keeps_it_while_it_begins_is_too_late(post: Post):
    """Its time comes, and nobody is let in any more, while somebody keeps it."""
    close(post.world.client(post.world.owner))
    kept: list[bool] = []

    def keep() -> None:
        with post.world.acme_scope():
            accounts.current()  # as every page has read it, before its time
            looked.set()
            begun.wait(60)
            kept.append(accounts.keep())
            accounts.close(db.now() + data.GRACE)  # puts it off no more than keeping it does

    looked, begun = threading.Event(), threading.Event()
    thread = threading.Thread(target=keep)
    thread.start()
    assert looked.wait(60)
    with db.account_scope(post.world.acme.id), db.transaction() as session:
        session.execute(update(Account).values(deletion_at=db.clock(-1)))
        accounts.shut()
        begun.set()
        wait_for(lambda: kept or somebody_waits(), 60, what="an end or a lock")
    thread.join()
    assert kept == [False]
    with db.system_scope("tests"):
        assert accounts.due_for_deletion() == [post.world.acme.id]


def test_by_the_databases_clock_it_is_too_late(post: Post):
    """Which the ticker goes by: a web process whose clock is behind keeps nothing that has begun to go."""
    close(post.world.client(post.world.owner))
    a_week_later(post)
    with time_machine.travel(dt.datetime.now(dt.UTC) - dt.timedelta(minutes=1)), post.world.acme_scope():
        assert accounts.keep() is False


def invite(post: Post, browser: Browser) -> str:
    """Asks somebody in; returns the path of their link."""
    browser.submit("/settings/users", email="late@acme.test", role="owner")
    return link(post.world)


def test_nobody_joins_it_by_an_invitation_once_its_time_has_come(post: Post):
    browser = post.world.client(post.world.owner)
    path = invite(post, browser)
    close(browser)
    assert post.world.client().get(path).status_code == 200  # it may still be kept
    a_week_later(post)
    refused = join(post.world, path)
    assert refused.status_code == 404
    assert "Acme is being deleted, so nobody can join it any more." in refused.get_data(as_text=True)
    with db.account_scope(post.world.acme.id):
        assert accounts.shut()
        assert accounts.owners() == []


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_nobody_joins_it_while_it_begins(post: Post):
    browser = post.world.client(post.world.owner)
    token = invite(post, browser).rpartition("/")[2]
    close(browser)
    ends: list[str] = []

    def come() -> None:
        with post.world.app.app_context():
            try:
                invitations.accept(token, name="Nia", password_hash="x")
            except invitations.BadLink as error:
                ends.append(str(error))

    thread = threading.Thread(target=come)
    with db.account_scope(post.world.acme.id), db.transaction() as session:
        session.execute(update(Account).values(deletion_at=db.clock(-1)))
        accounts.shut()
        thread.start()
        wait_for(lambda: not thread.is_alive() or somebody_waits(), 60, what="an end or a lock")
    thread.join()
    assert ends == ["Acme is being deleted, so nobody can join it any more."]
    with db.account_scope(post.world.acme.id):
        assert accounts.owners() == []


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_it_goes_on_piece_by_piece(post: Post, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(data, "_BUDGET", -1.0)
    post.join()
    close(post.world.client(post.world.owner))
    a_week_later(post)
    rounds = 0
    while rows_of(post.world.acme.id)["accounts"]:
        tick(post)
        rounds += 1
        assert rounds < 50
    assert rounds > 3


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_members_can_neither_close_nor_keep_it(post: Post):
    browser = post.world.client(post.world.member)
    assert browser.post("/settings/account/delete", {"name": "Acme", "password": PASSWORD}).status_code == 403
    assert browser.post("/settings/account/keep").status_code == 403
