"""What a run of ours stands on: the real tables with an account, its mail server, a campaign, people and letters due.

Everything is put there by the services that the product uses. Only the letters are added many at a time; each row is
what `deliveries.queue_for` makes of somebody joining.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psycopg
from flask import Flask
from sqlalchemy import insert

from benchmarks import letter
from panel import create_app, db
from panel.accounts import service as accounts
from panel.addresses import service as addresses
from panel.campaigns import service as campaigns
from panel.config import Settings
from panel.crypto import new_key
from panel.deliveries import service as deliveries
from panel.message.letter import new_message_id
from panel.migrations import runner
from panel.outbox.service import PRIORITY, Delivery
from panel.participants import service as participants
from panel.participants.models import Participant
from panel.servers import service as servers
from tests.support.postgres import SUPERUSER, Cluster, fresh_database, url_of

SENDER: Final = "owner@acme.example"
CONNECTIONS: Final = 10
_AT_ONCE: Final = 5_000
_KEYS: Final = new_key()
_COLUMNS: Final = (
    "account_id", "id", "campaign_id", "email", "first_name", "last_name", "referral_code", "joined_at", "made_at",
    "referral_count", "qualified_count",
)  # fmt: skip


def environ(*, database_url: str, redis_url: str, folder: Path, port: int) -> dict[str, str]:
    """The environment of an Ownpost process whose account's mail server listens on that port of this machine."""
    return {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "OWNPOST_DATA_DIR": str(folder),
        "OWNPOST_SECRET_KEY": "a secret key for benchmarks, and only for them",
        "OWNPOST_ENCRYPTION_KEYS": _KEYS,
        "OWNPOST_PUBLIC_URL": "https://ownpost.example",
        "OWNPOST_PLATFORM_SMTP_URL": f"smtp://127.0.0.1:{port}?security=none",
        "OWNPOST_SMTP_ALLOW": f"127.0.0.1:{port}",
        "OWNPOST_EHLO_NAME": "bench.example",
    }


@dataclass(frozen=True, slots=True)
class Ground:
    """The account and its campaign, on a database that is filled."""

    environ: dict[str, str]
    account_id: uuid.UUID
    address_id: uuid.UUID
    campaign_id: uuid.UUID


@contextmanager
def opened(environ: dict[str, str]) -> Iterator[Flask]:
    """The app on that database, within its context; everything is closed at the end."""
    app = create_app(Settings.from_env(environ))
    try:
        with app.app_context():
            yield app
    finally:
        db.engine().dispose()


def lay(environ: dict[str, str], *, people: int, letters: int, connections: int = CONNECTIONS) -> Ground:
    """Makes the tables and fills them: `people` participants, the first `letters` of whom have a letter due."""
    db.connect(environ["DATABASE_URL"])
    runner.upgrade()
    db.engine().dispose()
    with opened(environ) as app:
        with db.system_scope("a benchmark makes its account"):
            account_id = accounts.ensure("Acme").id
        with db.account_scope(account_id):
            port = app.extensions["ownpost"].platform_server.port
            address_id = _own_server(port, connections)
            campaign_id = _campaign()
            for start in range(0, people, _AT_ONCE):
                _people(campaign_id, range(start, min(people, start + _AT_ONCE)), letters)
        _settle()
    return Ground(environ, account_id, address_id, campaign_id)


def _own_server(port: int, connections: int) -> uuid.UUID:
    """An own server that passed its test, may take that many connections, and is known to work."""
    address = addresses.add_confirmed(email=SENDER, display_name="Owner")
    entry = servers.Entry(
        preset="other", host="127.0.0.1", port=port, security="none", auth="none", username="", password=""
    )
    servers.note_passed(address.id, entry)
    server = servers.save(address.id, entry, servers.By())
    with db.transaction():
        server.limits = {"connections": connections}
        server.proven_version = server.version
    return address.id


def _campaign() -> uuid.UUID:
    with db.transaction():
        accounts.describe(postal_address="Acme AB, 1 Example Street, 12345 Exampleville")
        campaign = campaigns.create(
            campaigns.Details(
                name=letter.CAMPAIGN, company_name=letter.COMPANY, referral_url="https://acme.example/invite"
            ),
            slug="spring",
        )
    campaigns.save_version(
        campaigns.notification_of(campaign.id, "welcome").id,
        subject=letter.ours(letter.SUBJECT),
        preheader="",
        html=letter.ours(letter.HTML),
        text=letter.ours(letter.TEXT),
    )
    return campaign.id


def _people(campaign_id: uuid.UUID, numbers: range, letters: int) -> None:
    made = db.now()
    people = [_person(campaign_id, number, made) for number in numbers]
    with db.transaction() as session:
        session.execute(insert(Participant), [{name: getattr(person, name) for name in _COLUMNS} for person in people])
        campaign = campaigns.get(campaign_id)
        notification = campaigns.notification_of(campaign_id, "welcome")
        postal_address = accounts.current().postal_address
        due = people[: max(0, letters - numbers.start)]
        if due:
            session.execute(
                insert(Delivery), [_letter(campaign, notification, person, postal_address, made) for person in due]
            )


def _person(campaign_id: uuid.UUID, number: int, made: Any) -> Participant:
    first_name, last_name = letter.names(number)
    return Participant(
        id=uuid.uuid4(),
        account_id=db.account_id(),
        campaign_id=campaign_id,
        email=f"p{number}@example.com",
        first_name=first_name,
        last_name=last_name,
        referral_code=f"{number:08d}",
        joined_at=made,
        made_at=made,
        referral_count=0,
        qualified_count=0,
    )


def _letter(
    campaign: campaigns.Campaign,
    notification: campaigns.Notification,
    person: Participant,
    postal_address: str | None,
    made: Any,
) -> dict[str, Any]:
    links = {
        "unsubscribe_url": participants.unsubscribe_url(person),
        "preferences_url": participants.preferences_url(person),
    }
    tags = {"campaign.name": campaign.name, "company.name": campaign.company_name}
    return {
        "account_id": campaign.account_id,
        "kind": "notification",
        "campaign_id": campaign.id,
        "address_id": campaign.address_id,
        "notification_id": notification.id,
        "notification_version_id": notification.current_version_id,
        "participant_id": person.id,
        "to_address": person.email,
        "values": deliveries.letter_values(
            {**tags, **participants.merge_values(campaign, person, prefix="referrer"), **links},
            to_name=f"{person.first_name} {person.last_name}",
            postal_address=postal_address,
            company_name=campaign.company_name,
            unsubscribe_url=links["unsubscribe_url"],
        ),
        "message_id": new_message_id(domain=SENDER.rpartition("@")[2]),
        "date": made.replace(microsecond=0),
        "made_at": made,
        "state": "queued",
        "priority": PRIORITY["notification"],
        "next_attempt_at": made,
    }


def _settle() -> None:
    """Leaves the database as one that has been in use for a while: nothing in the log, statistics gathered."""
    with db.engine().connect() as connection:
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        else:
            connection.execution_options(isolation_level="AUTOCOMMIT").exec_driver_sql("VACUUM ANALYZE")


class SqliteStore:
    """Grounds kept in files: laid once, copied for each turn."""

    kind = "SQLite"

    def __init__(self, folder: Path, redis_url: str) -> None:
        self._folder, self._redis_url = folder, redis_url

    def lay(self, name: str, *, port: int, people: int, letters: int) -> Ground:
        """Lays a ground that `fresh` copies, in place of an earlier one of that name."""
        self._remove(f"{name}.laid")
        return lay(self._environ(f"{name}.laid", port), people=people, letters=letters)

    def fresh(self, name: str, ground: Ground) -> Ground:
        """A copy of the ground, to be used up by one turn."""
        port = int(ground.environ["OWNPOST_SMTP_ALLOW"].rpartition(":")[2])
        self._remove(name)
        shutil.copyfile(self._folder / f"{name}.laid.sqlite3", self._folder / f"{name}.sqlite3")
        return Ground(self._environ(name, port), ground.account_id, ground.address_id, ground.campaign_id)

    def _remove(self, name: str) -> None:
        for end in ("", "-wal", "-shm"):
            (self._folder / f"{name}.sqlite3{end}").unlink(missing_ok=True)

    def _environ(self, name: str, port: int) -> dict[str, str]:
        url = f"sqlite:///{self._folder / name}.sqlite3"
        return environ(database_url=url, redis_url=self._redis_url, folder=self._folder, port=port)


class PostgresStore:
    """Grounds kept as databases of one cluster: laid once, copied for each turn."""

    kind = "PostgreSQL"

    def __init__(self, cluster: Cluster, folder: Path, redis_url: str) -> None:
        self._cluster, self._folder, self._redis_url = cluster, folder, redis_url

    def lay(self, name: str, *, port: int, people: int, letters: int) -> Ground:
        """Lays a ground that `fresh` copies, in place of an earlier one of that name."""
        fresh_database(self._cluster.directory, f"{name}_laid")
        return lay(self._environ(f"{name}_laid", port), people=people, letters=letters)

    def fresh(self, name: str, ground: Ground) -> Ground:
        """A copy of the ground, to be used up by one turn."""
        port = int(ground.environ["OWNPOST_SMTP_ALLOW"].rpartition(":")[2])
        with psycopg.connect(
            host=str(self._cluster.directory), user=SUPERUSER, dbname="postgres", autocommit=True
        ) as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
            connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{name}_laid"')
            connection.execute("CHECKPOINT")
        return Ground(self._environ(name, port), ground.account_id, ground.address_id, ground.campaign_id)

    def _environ(self, name: str, port: int) -> dict[str, str]:
        url = url_of(self._cluster.directory, name)
        return environ(database_url=url, redis_url=self._redis_url, folder=self._folder, port=port)
