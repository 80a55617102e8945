"""The audit log: who, what, when and from where; filtered, handed out, read by owners only."""

from __future__ import annotations

import csv
import datetime as dt
import io
import re

import pytest
from sqlalchemy import select, update

from panel import actor, db
from panel.accounts import service as accounts
from panel.accounts.models import Account, AuditEntry
from panel.actor import Actor
from panel.web import signins
from tests.support.world import World


def write(
    world: World, action: str, *, at: dt.datetime | None = None, who: str = "owner@acme.test", **more: str
) -> None:
    """An entry, as if it had been written at that time."""
    with world.acme_scope(), actor.acting(Actor(kind=actor.USER, name=who)), db.transaction() as session:
        accounts.audit(action, **more)
        session.flush()
        if at is not None:
            newest = select(AuditEntry.id).where(AuditEntry.action == action).order_by(AuditEntry.at.desc()).limit(1)
            session.execute(update(AuditEntry).where(AuditEntry.id == session.scalar(newest)).values(at=at))


def shown(page: str) -> list[str]:
    """The actions that the page shows, in its order."""
    return re.findall(r'<tr data-action="([^"]+)"', page)


def entries(world: World) -> list[AuditEntry]:
    with world.acme_scope() as session:
        return list(session.scalars(select(AuditEntry).order_by(AuditEntry.at, AuditEntry.id)))


def test_it_shows_who_did_what_from_where(world: World):
    browser = world.client(world.owner)
    browser.post("/settings/data", {"days": "30"}, environ_overrides={"REMOTE_ADDR": "203.0.113.7"})
    page = browser.get("/settings/audit").get_data(as_text=True)
    assert shown(page) == ["account.keep_values", "sign_in", "user.added", "user.added", "account.added"]
    assert "Time that letters are kept changed" in page
    assert "days: 30" in page
    assert "203.0.113.7" in page


def test_it_believes_proxies_as_far_as_it_is_told_to(world: World):
    world.reconfigure(OWNPOST_TRUSTED_PROXIES="1")
    browser = world.client(world.owner)
    browser.post("/settings/data", {"days": "30"}, headers={"X-Forwarded-For": "198.51.100.1, 203.0.113.7"})
    world.reconfigure(OWNPOST_TRUSTED_PROXIES="0")
    browser = world.client(world.owner)
    browser.post("/settings/data", {"days": "31"}, headers={"X-Forwarded-For": "198.51.100.1"})
    kept = [one.ip for one in entries(world) if one.action == "account.keep_values"]
    assert kept == ["203.0.113.7", "127.0.0.1"]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_it_is_for_owners_of_the_account_alone(world: World):
    write(world, "server.saved", subject="smtp.acme.test:587")
    member = world.client(world.member)
    assert member.get("/settings/audit").status_code == 403
    assert member.get("/settings/audit.csv").status_code == 403
    assert "/settings/audit" not in member.get("/settings/email").get_data(as_text=True)
    stranger = world.client(world.stranger)
    assert "smtp.acme.test" not in stranger.get("/settings/audit").get_data(as_text=True)
    assert "smtp.acme.test" not in stranger.get("/settings/audit.csv").get_data(as_text=True)


def test_it_writes_down_sign_ins_and_those_that_failed(world: World):
    browser = world.client()
    browser.submit("/login", email="owner@acme.test", password="not the password").close()
    browser.submit("/login", email="nobody@acme.test", password="not the password").close()
    signed_in = world.client(world.owner)
    signed_in.get("/help")
    signed_in.post("/logout").close()
    told = [(one.action, one.actor, one.ip, one.details) for one in entries(world) if one.action.startswith("sign")]
    assert told == [
        ("sign_in.failed", "owner@acme.test", "127.0.0.1", {"by": "password", "second_factor": False}),
        ("sign_in", "owner@acme.test", "127.0.0.1", {"by": ["password"]}),
        ("sign_out", "owner@acme.test", "127.0.0.1", {}),
    ]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_it_writes_of_a_failed_sign_in_once_the_answer_has_left(world: World, monkeypatch: pytest.MonkeyPatch):
    written: list[str] = []
    monkeypatch.setattr(signins, "_write", lambda waiting: written.extend(note.action for note in waiting))
    answer = world.client().submit("/login", email="owner@acme.test", password="not the password")
    assert (answer.status_code, written) == (200, [])
    answer.close()
    assert written == ["sign_in.failed"]


def test_it_filters_by_person_action_subject_and_days_of_the_accounts_zone(world: World):
    with db.system_scope("tests"), db.transaction() as session:
        session.execute(update(Account).where(Account.id == world.acme.id).values(time_zone="Asia/Tokyo"))
    # 2026-03-01 in Tokyo begins at 15:00 UTC of the day before.
    write(world, "server.saved", subject="smtp.one.test:587", at=dt.datetime(2026, 2, 28, 14, 59, tzinfo=dt.UTC))
    write(world, "server.removed", subject="smtp.two.test:25", at=dt.datetime(2026, 2, 28, 15, 1, tzinfo=dt.UTC))
    write(world, "campaign.edited", subject="Spring", who="member@acme.test", at=dt.datetime(2026, 3, 2, tzinfo=dt.UTC))
    browser = world.client(world.owner)

    def found(query: str) -> list[str]:
        return [
            each for each in shown(browser.get(f"/settings/audit?{query}").get_data(as_text=True)) if each != "sign_in"
        ]

    assert found("")[-3:] == ["campaign.edited", "server.removed", "server.saved"]
    assert found("actor=member@acme.test") == ["campaign.edited"]
    assert found("action=server.removed") == ["server.removed"]
    assert found("subject=SMTP") == ["server.removed", "server.saved"]
    assert found("since=2026-03-01&until=2026-03-01") == ["server.removed"]
    assert found("until=2026-02-28") == ["server.saved"]
    assert "Nothing in the log is like that." in browser.get("/settings/audit?subject=nowhere").get_data(as_text=True)
    # What makes no sense does not filter.
    assert len(found("since=someday&before=made-up")) == len(found(""))
    assert found("since=0001-01-01&until=9999-12-31") == found("")


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Pacific/Pago_Pago"])
def test_a_day_that_is_none_in_some_zone_does_not_filter(world: World, zone: str):
    """The first day of all begins before time in the east, and the last one ends after it in the west."""
    with db.system_scope("tests"), db.transaction() as session:
        session.execute(update(Account).where(Account.id == world.acme.id).values(time_zone=zone))
    browser = world.client(world.owner)
    for day in ("0001-01-01", "0001-01-02", "9999-12-31"):
        for name in ("since", "until"):
            for page in ("audit", "audit.csv"):
                answer = browser.get(f"/settings/{page}?{name}={day}")
                assert answer.status_code == 200, (page, name, day)
                assert "sign_in" in answer.get_data(as_text=True)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_it_turns_pages_by_where_the_last_one_ended(world: World):
    begin = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)
    for number in range(120):
        # Many at the same moment: the cursor has to tell them apart.
        write(world, "server.saved", subject=f"smtp{number:03}.test:25", at=begin + dt.timedelta(minutes=number // 50))
    browser, seen, url = world.client(world.owner), [], "/settings/audit?action=server.saved"
    while url:
        page = browser.get(url).get_data(as_text=True)
        seen.append(re.findall(r"smtp\d{3}\.test", page))
        older = re.search(r'rel="next" href="([^"]+)"', page)
        url = older[1].replace("&amp;", "&") if older else ""
    assert [len(each) for each in seen] == [50, 50, 20]
    assert len({name for page in seen for name in page}) == 120


def test_it_hands_out_what_the_filter_leaves_for_a_spreadsheet(world: World):
    write(world, "server.saved", subject="=HYPERLINK(1)", address="+49 1", note="plain")
    write(world, "server.removed", subject="smtp.two.test:25")
    answer = world.client(world.owner).get("/settings/audit.csv?action=server.saved")
    assert answer.mimetype == "text/csv"
    assert "attachment" in answer.headers["Content-Disposition"]
    rows = list(csv.DictReader(io.StringIO(answer.get_data().decode("utf-8-sig"))))
    assert [row["action"] for row in rows] == ["server.saved"]
    assert rows[0]["subject"] == "'=HYPERLINK(1)"
    assert rows[0]["actor"] == "owner@acme.test"
    assert rows[0]["details"] == "address: +49 1; note: plain"
    assert [one.action for one in entries(world)][-1] == "audit.exported"


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_it_remembers_who_did_it_when_that_person_is_gone(world: World):
    browser = world.client(world.member)
    browser.get("/campaigns/new")
    browser.post("/campaigns/new", {"name": "Autumn", "company_name": "Acme", "referral_url": "https://acme.test/a/"})
    with db.system_scope("tests"), db.transaction() as session:
        session.delete(session.get_one(type(world.member), world.member.id))
    made = [one for one in entries(world) if one.action == "campaign.added"]
    assert [(one.actor, one.user_id) for one in made] == [("member@acme.test", None)]


def test_it_says_that_it_was_an_operator(world: World):
    with world.app.app_context(), actor.acting(Actor(kind=actor.OPERATOR, name="operator (root)")):
        with db.system_scope("tests"):
            accounts.suspend(world.acme, suspended=True)
        with db.account_scope(world.acme.id):
            accounts.add_api_key("for the shop")
    told = [(one.action, one.actor_kind, one.actor) for one in entries(world)][-2:]
    assert told == [
        ("account.suspended", "operator", "operator (root)"),
        ("api_key.added", "operator", "operator (root)"),
    ]
