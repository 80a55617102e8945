"""A server with limits, and letters for it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import func, select, update

from panel import db
from panel.outbox.models import Delivery
from panel.servers import service
from panel.servers.counters import Counter
from panel.servers.models import MailServer
from panel.servers.windows import Counts
from tests.servers.conftest import Mail

PORT = 2525


def put(counter: Counter, counts: Counts) -> None:
    """Makes these the counts, as a worker whose turn it is does with the database's."""
    counter.forget()
    turn = counter.may_count()
    assert turn
    assert counter.replace(counts, after=turn, check_in=None)
    counter.counted(turn)


@dataclass
class Pace:
    """Acme's own server with limits, and letters for it."""

    mail: Mail
    numbers: Iterator[int] = field(default_factory=lambda: iter(range(1_000_000)))

    def limit(self, **limits: int) -> None:
        with self.mail.world.acme_scope(), db.transaction() as session:
            session.execute(update(MailServer).values(limits=limits, version=MailServer.version + 1))

    @property
    def route(self) -> service.Route:
        return self.mail.route()

    def take(self, wanted: int) -> service.Allowance:
        with self.mail.world.acme_scope():
            return service.take(service.route_of(self.mail.address.id), wanted)

    def give_back(self, count: int, **of: Any) -> None:
        with self.mail.world.acme_scope():
            service.give_back(service.route_of(self.mail.address.id), count, **of)

    def queue(self, count: int, **row: Any) -> list[int]:
        """Adds letters."""
        with self.mail.world.acme_scope(), db.transaction() as session:
            rows = [self._row(**row) for _ in range(count)]
            session.add_all(rows)
            session.flush()
            return [one.id for one in rows]

    def sent(self, count: int, *, ago: float = 0.0, **row: Any) -> list[int]:
        """Adds letters that the server took so many seconds ago."""
        at = db.now() - dt.timedelta(seconds=ago)
        return self.queue(count, **{"state": "sent", "sent_at": at, "server_id": self.route.server_id, **row})

    def _row(self, **row: Any) -> Delivery:
        number = next(self.numbers)
        usual = {
            "account_id": self.mail.world.acme.id,
            "kind": "notification",
            "address_id": self.mail.address.id,
            "to_address": f"r{number}@example.com",
            "message_id": f"<{number}@acme.test>",
            "date": db.now(),
        }
        return Delivery(**{**usual, **row})

    def rests_until(self) -> dt.datetime | None:
        with self.mail.world.acme_scope() as session:
            return session.scalar(select(MailServer.rests_until))

    def count(self, *which: Any) -> int:
        with self.mail.world.acme_scope() as session:
            return session.scalar(select(func.count()).select_from(Delivery).where(*which)) or 0
