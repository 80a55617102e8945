"""Everything of an account in a ZIP: all of its rows, none of another's, and nothing that lets somebody in."""

from __future__ import annotations

import io
import json
import tracemalloc
import zipfile

import pytest
from sqlalchemy import insert, select

from panel import db
from panel.accounts import service as accounts
from panel.data import exporting, tables
from panel.db import Base
from panel.events.models import Event
from panel.outbox import service as outbox
from panel.servers import service as servers
from panel.servers.models import MailServer
from tests.data.content import rows_of
from tests.deliveries.conftest import Post

CANARY = "canary-7d20-password"


def unpack(data: bytes) -> dict[str, list[dict[str, object]]]:
    """The rows by table."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        return {
            name.removesuffix(".jsonl"): [json.loads(line) for line in archive.read(name).decode().splitlines()]
            for name in archive.namelist()
            if name.endswith(".jsonl")
        }


def test_it_holds_every_row_of_the_account_and_no_other(post: Post):
    post.join()
    post.send()
    with db.account_scope(post.world.other.id):
        accounts.add_api_key("theirs")
    browser = post.world.client(post.world.owner)
    browser.get("/settings/data")
    answer = browser.post("/settings/account/export")
    assert answer.mimetype == "application/zip"
    found = unpack(answer.get_data())
    answer.close()
    counted = rows_of(post.world.acme.id)
    for left_out in ("accounts", "passkeys"):
        counted.pop(left_out)
    told = {name: len(rows) for name, rows in found.items()}
    told["audit_log"] = counted["audit_log"]  # which grows by this export itself
    assert told == counted
    assert {row["account_id"] for rows in found.values() for row in rows} == {str(post.world.acme.id)}
    assert "theirs" not in json.dumps(found)
    assert {row["action"] for row in found["audit_log"]} >= {"account.exported", "sign_in"}


def test_it_holds_nothing_that_lets_somebody_in(post: Post):
    entry = servers.Entry(
        preset="other", host="smtp.example.com", port=587, security="starttls", auth="auto",
        username="hello", password=CANARY,
    )  # fmt: skip
    with post.world.acme_scope() as session:
        servers.save_draft(post.address_id, entry, servers.By())
        key = accounts.add_api_key("for the shop")
        sealed = session.scalars(select(MailServer.password_sealed)).one()
        outbox.put_system_letter(
            to_address="owner@acme.test", subject="Choose a new password", text="https://panel.test/forgot/TOKEN-1",
            html=None, from_domain="acme.test",
        )  # fmt: skip
    post.join()
    data = b"".join(exporting.export(post.world.acme.id))
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        everything = b"".join(archive.read(name) for name in archive.namelist()).decode()
    with db.system_scope("tests") as session:
        user = session.get_one(type(post.world.owner), post.world.owner.id)
        secrets = [CANARY, key, str(sealed), str(user.password), user.fs_uniquifier, "TOKEN-1", "/u/", "/p/"]
    assert [each for each in secrets if each in everything] == []
    assert "smtp.example.com" in everything
    assert "mail_servers.password_sealed" in everything  # in the README, as left out


def test_it_leaves_out_secrets_by_their_names_whatever_table_they_are_in():
    left_out = {f"{model.__tablename__}.{name}" for model in tables.models() for name in tables.exported(model)[1]}
    assert left_out >= {
        "users.password", "users.fs_uniquifier", "api_keys.hash", "mail_servers.password_sealed",
        "mail_servers.fingerprint_verified", "idempotent_requests.body_hash",
    }  # fmt: skip
    # And what a person would miss is not among them.
    assert {"users.email", "api_keys.label", "deliveries.values", "participants.email"} & left_out == set()


def test_it_knows_every_table():
    owned = {table.name for table in Base.metadata.sorted_tables if "account_id" in table.columns}
    assert {model.__tablename__ for model in tables.models()} == owned
    assert {table.name for table in tables.tables()} == owned


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_it_takes_no_more_memory_for_more_rows(post: Post):
    with post.world.acme_scope(), db.transaction() as session:
        rows = [
            {
                "account_id": post.world.acme.id, "campaign_id": post.campaign_id, "type": "referrer.joined",
                "natural_key": f"key-{number}", "payload": {"filler": "x" * 1_000}, "occurred_at": db.now(),
            }
            for number in range(20_000)
        ]  # fmt: skip
        session.execute(insert(Event), rows)
    del rows
    tracemalloc.start()
    size = sum(len(piece) for piece in exporting.export(post.world.acme.id))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size > 0
    assert most < 8_000_000  # 20 MB of rows went through


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_it_is_for_owners(post: Post):
    browser = post.world.client(post.world.member)
    assert browser.post("/settings/account/export").status_code == 403
    assert browser.get("/settings/data").status_code == 403


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_it_makes_two_at_a_time(post: Post):
    browser = post.world.client(post.world.owner)
    browser.get("/settings/data")
    under_way = [browser.post("/settings/account/export") for _ in range(2)]
    refused = browser.post("/settings/account/export")
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "60")
    for one in under_way:
        one.close()
    again = browser.post("/settings/account/export")
    assert again.status_code == 200
    again.close()
