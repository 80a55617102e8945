"""An account's data: all of it handed out; all of it deleted, after days in which an owner may change their mind."""

from __future__ import annotations

import datetime as dt
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from flask import current_app, render_template, url_for

from panel import db
from panel.accounts import service as accounts
from panel.config import Settings
from panel.data import erasing, exporting, people
from panel.data.erasing import Collided
from panel.data.people import OnItsWay
from panel.deliveries import service as deliveries
from panel.outbox import service as outbox

__all__ = ["Collided", "OnItsWay"]

GRACE: Final = dt.timedelta(days=7)
"""After which a closed account is deleted: somebody else may have pressed the button."""

_BUDGET: Final = 2.0  # seconds of a ticker's round
_PATIENCE: Final = 30.0  # seconds that an operator's command waits for letters in flight
_TRIES: Final = 10  # of that command, each of which begins again where rows were added meanwhile
_BETWEEN_TRIES: Final = 0.5  # seconds

delete_person = people.delete
is_person_suppressed = people.is_suppressed
days_kept = deliveries.days_kept


def export() -> Iterator[bytes]:
    """Everything of this account as a ZIP, in pieces; the log says who took it. In the account's scope."""
    with db.transaction():
        accounts.audit("account.exported", subject=accounts.current().name)
    return exporting.export(db.account_id())


def close() -> dt.datetime:
    """Stops this account's sending, tells its owners, and has it deleted after the days of grace; says when."""
    at = db.now() + GRACE
    with db.transaction():
        accounts.close(at)
        _tell_owners(at)
    return at


def _tell_owners(at: dt.datetime) -> None:
    settings: Settings = current_app.extensions["ownpost"]
    local = at.astimezone(accounts.zone())
    words = {
        "account": accounts.current().name,
        "at": f"{local.day} {local:%B %Y, %H:%M} ({accounts.zone().key})",
        "link": settings.public_url + url_for("data.index"),
    }
    for owner in accounts.owners():
        outbox.put_system_letter(
            to_address=owner.email,
            subject=f"{words['account']} will be deleted on {local.day} {local:%B}",
            text=render_template("data/email/closed.txt", **words),
            html=render_template("data/email/closed.html", **words),
            from_domain=settings.platform_from.address.rpartition("@")[2],
        )


def keep() -> bool:
    """Takes that back; what waits goes out again. False once the account is being deleted."""
    return accounts.keep()


def tick() -> None:
    """One round of the ticker: deletes what is due to be, in pieces. In no scope."""
    end = time.monotonic() + _BUDGET
    with db.system_scope("the ticker looks for accounts whose time has come"):
        due = accounts.due_for_deletion()
    for account_id in due:
        with db.account_scope(account_id):
            if not accounts.shut():
                continue
        with db.system_scope("the ticker deletes an account"), suppress(Collided):  # the next round goes on
            if erasing.is_at_rest(account_id):
                erasing.go_on(account_id, end)


def delete_now(account_id: uuid.UUID) -> None:
    """Deletes an account at once, by an operator's word. In no scope. Raises Collided: then the ticker goes on."""
    with db.account_scope(account_id), db.transaction():
        accounts.close(db.now())
        accounts.shut()
    with db.system_scope("an operator deletes an account"):
        end = time.monotonic() + _PATIENCE
        while not erasing.is_at_rest(account_id) and time.monotonic() < end:
            db.release()
            time.sleep(0.1)
        db.release()
        for left in reversed(range(_TRIES)):
            try:
                while not erasing.go_on(account_id, time.monotonic() + _PATIENCE):
                    pass
                return
            except Collided:
                if not left:
                    raise
            time.sleep(_BETWEEN_TRIES)
