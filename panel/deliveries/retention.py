"""How long what letters were made of is kept: by the operator's setting, or the account's own where that is shorter."""

from __future__ import annotations

import datetime as dt
import time
import uuid
from typing import Final

from flask import current_app
from sqlalchemy import select

from panel import db
from panel.accounts import service as accounts
from panel.accounts.service import Account
from panel.config import Settings
from panel.outbox import service as outbox

_EVERY: Final = 3_600.0  # seconds after which an account's letters are looked through again
_NAME: Final = "ownpost.retention"


def days_of(account: Account, settings: Settings) -> int | None:
    """For how many days an account's values are kept; None: for good."""
    given = [days for days in (account.keep_values_days, settings.keep_values_days) if days is not None]
    return min(given, default=None)


def tick(settings: Settings, end: float) -> int:
    """Blanks what is too old, in pieces, until `end` (by `time.monotonic`); says how many letters. In no scope."""
    done_at: dict[uuid.UUID, float] = current_app.extensions.setdefault(_NAME, {})
    with db.system_scope("the ticker looks whose letters' values are not kept for good"):
        wanted = select(Account)
        if settings.keep_values_days is None:
            wanted = wanted.where(Account.keep_values_days.is_not(None))
        keeping = {one.id: days_of(one, settings) for one in db.session().scalars(wanted)}
    blanked = 0
    for account_id, days in keeping.items():
        now = time.monotonic()
        if now > end:
            break
        if days is None or now < done_at.get(account_id, -_EVERY) + _EVERY:
            continue
        with db.account_scope(account_id):
            done, over = blank_old(days, end)
        blanked += done
        if over:
            done_at[account_id] = now
    return blanked


def blank_old(days: int, end: float) -> tuple[int, bool]:
    """The same for one account, in its scope: how many, and whether nothing is left to do."""
    before = db.now() - dt.timedelta(days=days)
    begin = after = accounts.current().blanked_through
    total = 0
    while True:
        blanked, reached = outbox.blank_old(before, after=after)
        total += blanked
        if reached is None or time.monotonic() > end:
            break
        after = reached
        db.breathe()
    # What waits still (a paused blast may for months) is come back to: the next look begins before it.
    waits = outbox.first_waiting(after=begin)
    accounts.note_blanked(min(after, waits - 1) if waits is not None else after)
    return total, reached is None
