"""`ownpost key rotate`: every stored secret under the first key, whatever else goes on."""

from __future__ import annotations

import re
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import select, update

from panel import db, sealed
from panel.accounts.models import AuditEntry
from panel.addresses import service as addresses
from panel.crypto import Keyring, new_key
from panel.db import Base
from panel.sealed import Keeper
from panel.servers import service as servers
from panel.servers.models import MailServer
from panel.servers.routing import stored_password
from tests.ops.test_cli import Shell, shell
from tests.servers.conftest import PASSWORD, Mail, mail
from tests.support.world import KEYS

__all__ = ["mail", "shell"]

OLD = KEYS.partition(":")[0]
PORT = 2525


def rows(mail: Mail) -> list[MailServer]:
    with mail.world.acme_scope() as session:
        return list(session.scalars(select(MailServer)))


def rotate(mail: Mail, keys: str) -> sealed.Rotation:
    with mail.world.app.app_context(), db.system_scope("tests"):
        return sealed.rotate(Keyring.parse(keys), note=lambda _account, _count: None)


def test_it_seals_anew_and_says_what_may_go(mail: Mail, shell: Shell):
    mail.allow(PORT)
    mail.saved(PORT)
    with mail.world.acme_scope(), mail.world.app.test_request_context():
        second = addresses.add(email="other@acme.test", display_name="")
        servers.note_passed(second.id, mail.entry(PORT, auth="none", username="", password=""))
        servers.save(second.id, mail.entry(PORT, auth="none", username="", password=""), servers.By())
    [before] = [row for row in rows(mail) if row.password_sealed]
    new = new_key()
    both = {"OWNPOST_ENCRYPTION_KEYS": f"{new},{KEYS}"}
    new_id = new.partition(":")[0]
    told = shell.run("doctor", **both).stdout
    assert re.search(rf"ok\s+keys .*not all by the first key, {new_id} \(3 by {OLD}\): run `ownpost key rotate`", told)
    done = shell.run("key", "rotate", **both)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        f"mail_servers: 2 sealed with {new_id}\n"
        f"totp_keys: 0 sealed with {new_id}\n"
        f"Nothing needs {OLD} any more: take it out of OWNPOST_ENCRYPTION_KEYS and restart.\n"
    )
    assert f"nothing needs {OLD} any more" in shell.run("doctor", **both).stdout
    again = shell.run("key", "rotate", **both)
    assert again.stdout.startswith("mail_servers: 0 sealed")
    # Without the old key, all is as before: the password opens, what was verified counts as verified.
    mail.world.reconfigure(OWNPOST_ENCRYPTION_KEYS=new)
    after = next(row for row in rows(mail) if row.id == before.id)
    assert (after.version, after.changed_at) == (before.version, before.changed_at)
    with mail.world.acme_scope() as session:
        assert servers.smtp_settings(servers.route_of(mail.address.id))[0].password == PASSWORD
        assert servers.is_tested(mail.address.id, mail.entry(PORT))
        assert not servers.is_tested(mail.address.id, mail.entry(PORT, password="another"))
        assert servers.is_tested(second.id, mail.entry(PORT, auth="none", username="", password=""))
        entry = session.scalars(select(AuditEntry).where(AuditEntry.action == "secrets.resealed")).one()
    assert entry.actor.startswith("operator (")
    assert entry.details == {"count": 2, "key": new_id}


def test_whoever_saves_meanwhile_wins(mail: Mail, monkeypatch: pytest.MonkeyPatch):
    mail.allow(PORT)
    mail.saved(PORT)
    read, new = sealed._batch, new_key()

    def save_meanwhile(keeper: Keeper, keyring: Keyring, after: object) -> list[object]:
        found = read(keeper, keyring, after)
        if found:
            mail.drafted(PORT, password="a newer password")
        return found

    monkeypatch.setattr(sealed, "_batch", save_meanwhile)
    assert rotate(mail, f"{new},{KEYS}").renewed == {"mail_servers": 0}
    with mail.world.acme_scope():
        server = servers.for_address(mail.address.id)
    assert server is not None
    place = {"column": "mail_servers.password", "account_id": str(server.account_id), "row_id": str(server.id)}
    assert Keyring.parse(KEYS).unseal(str(server.password_sealed), **place) == "a newer password"


def test_what_no_key_opens_is_left_and_told(mail: Mail, shell: Shell):
    mail.allow(PORT)
    mail.saved(PORT)
    [before] = rows(mail)
    done = shell.run("key", "rotate", OWNPOST_ENCRYPTION_KEYS=new_key())
    assert done.returncode == 1
    assert "0 sealed" in done.stdout
    assert "1 that none of the keys opens" in done.stdout
    assert f"Missing keys: {OLD}. Add them, or have the passwords entered again." in done.stdout
    assert [row.password_sealed for row in rows(mail)] == [before.password_sealed]


def test_a_secret_moved_to_another_row_is_not_made_to_open_there(mail: Mail):
    mail.allow(PORT)
    mail.saved(PORT)
    with mail.world.acme_scope(), mail.world.app.test_request_context():
        second = addresses.add(email="other@acme.test", display_name="")
        servers.save_draft(second.id, mail.entry(PORT, password="the other"), servers.By())
        with db.transaction() as session:
            first = servers.for_address(mail.address.id)
            assert first is not None
            moved = update(MailServer).where(MailServer.address_id == second.id)
            session.execute(moved.values(password_sealed=first.password_sealed))
    done = rotate(mail, f"{new_key()},{KEYS}")
    assert (done.renewed, done.unreadable) == ({"mail_servers": 1}, {"mail_servers": 1})


def test_it_goes_through_any_number_of_rows(mail: Mail, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sealed, "BATCH", 2)
    drafts(mail, 5)
    new = new_key()
    assert rotate(mail, f"{new},{KEYS}").renewed == {"mail_servers": 5}
    with db.system_scope("tests"):
        assert sealed.by_key() == {new.partition(":")[0]: 5}


def drafts(mail: Mail, count: int) -> None:
    """So many servers with a stored password each."""
    mail.allow(PORT)
    with mail.world.acme_scope(), mail.world.app.test_request_context():
        for number in range(count):
            made = addresses.add(email=f"a{number}@acme.test", display_name="")
            servers.save_draft(made.id, mail.entry(PORT), servers.By())


def test_it_goes_on_where_it_was_broken_off(mail: Mail, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sealed, "BATCH", 2)
    drafts(mail, 5)
    new = new_key()
    keyring = Keyring.parse(f"{new},{KEYS}")
    noted: list[int] = []

    def note(_account: uuid.UUID, count: int) -> None:
        noted.append(count)
        if len(noted) == 2:
            raise KeyboardInterrupt

    with db.system_scope("tests"), pytest.raises(KeyboardInterrupt):
        sealed.rotate(keyring, note=note)
    with db.system_scope("tests"):
        assert sealed.by_key() == {new.partition(":")[0]: 2, OLD: 3}
    mail.world.reconfigure(OWNPOST_ENCRYPTION_KEYS=f"{new},{KEYS}")
    with mail.world.acme_scope():  # meanwhile all of them open
        opened = [stored_password(row) for row in rows(mail)]
    assert opened == [PASSWORD] * 5
    assert rotate(mail, f"{new},{KEYS}").renewed == {"mail_servers": 3}


def test_two_at_once_do_each_row_once(mail: Mail, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sealed, "BATCH", 3)
    drafts(mail, 12)
    new = new_key()
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(lambda _: rotate(mail, f"{new},{KEYS}"), range(2)))
    assert sum(one.renewed["mail_servers"] for one in done) == 12
    assert [one.unreadable.total() for one in done] == [0, 0]
    with db.system_scope("tests"):
        assert sealed.by_key() == {new.partition(":")[0]: 12}


def test_it_tells_keys_apart_whose_ids_differ_in_case_alone(mail: Mail):
    _, _, secret = KEYS.partition(":")
    mail.world.reconfigure(OWNPOST_ENCRYPTION_KEYS=f"prod:{secret}")
    drafts(mail, 1)
    other = f"Prod:{new_key().partition(':')[2]}"
    assert rotate(mail, f"{other},prod:{secret}").renewed == {"mail_servers": 1}
    with db.system_scope("tests"):
        assert sealed.by_key() == {"Prod": 1}


def test_it_knows_every_column_that_hangs_on_a_key():
    # By their names: whoever adds one registers it, or calls it something else.
    looks = {
        f"{table.name}.{column.name}"
        for table in Base.metadata.sorted_tables
        for column in table.columns
        if re.search("sealed|fingerprint|totp_secret", column.name)
    }
    known = {f"{keeper.model.__tablename__}.{name}" for keeper in sealed.keepers() for name in keeper.columns}
    assert looks == known
