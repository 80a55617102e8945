"""Letters with links, as the platform server would send them."""

from __future__ import annotations

import re
from typing import Any

from sqlalchemy import select

from panel import db
from panel.accounts.models import AuditEntry
from panel.outbox.models import Delivery
from tests.support.world import World

NEW_PASSWORD = "a password of some length"


def letters(world: World) -> list[Delivery]:
    """All that are queued, over all accounts, oldest first."""
    with db.system_scope("tests") as session:
        return list(session.scalars(select(Delivery).order_by(Delivery.id)))


def link(world: World) -> str:
    """The path of the link in the newest letter."""
    values = letters(world)[-1].values
    found = re.search(r"http://127\.0\.0\.1:8000(/invitation/\S+)", values["text"])
    assert found, values["text"]
    assert found[1] in values["html"]
    return found[1]


def audited(world: World) -> list[tuple[str, str]]:
    """What Acme's audit log says of people, with the subject of each line."""
    with world.acme_scope() as session:
        found = (
            select(AuditEntry)
            .where(AuditEntry.action.startswith("user."), AuditEntry.action != "user.added")
            .order_by(AuditEntry.at)
        )
        return [(one.action, one.subject) for one in session.scalars(found)]


def join(world: World, path: str, **fields: Any) -> Any:
    """Opens a link and fills in what it asks for."""
    return world.client().submit(path, **{"name": "Nia New", "password": NEW_PASSWORD, **fields})
