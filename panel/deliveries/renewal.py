"""When there is more of a quota: what the server said, what its provider is known for, or a guess that grows."""

from __future__ import annotations

import datetime as dt
import uuid

from sqlalchemy import func, select

from panel import db
from panel.outbox.service import Delivery
from panel.smtp.outcome import Outcome, Renewal

_HOUR = dt.timedelta(hours=1)
_DAY = dt.timedelta(days=1)

# How long the window is, and how long at least until it is tried: near the window's end it would be tried at once.
_WINDOWS = {
    Renewal.HOUR: (_HOUR, dt.timedelta(minutes=5)),
    Renewal.DAY: (_DAY, dt.timedelta(minutes=15)),
}


def renews_at(server_id: uuid.UUID, outcome: Outcome, *, failures: int, now: dt.datetime) -> dt.datetime:
    """When to try again. In the account's scope.

    failures: how many in a row there were, this one included: a guess doubles with each that was wrong.
    """
    if outcome.come_back is not None:
        return now + dt.timedelta(seconds=outcome.come_back)
    window = _WINDOWS.get(outcome.renews or Renewal.UNKNOWN)
    first = _first_since(server_id, now - window[0]) if window else None
    if window is None or first is None:
        # Others use the mailbox, too, or the provider keeps its rule to itself.
        return now + min(_DAY, _HOUR * (1 << min(max(0, failures - 1), 10)))
    length, least = window
    # Providers count by a window that slides: when its first letter has left it there is room for that one.
    return max(now + least, min(now + length, first + length))


def _first_since(server_id: uuid.UUID, since: dt.datetime) -> dt.datetime | None:
    return db.session().scalar(
        select(func.min(Delivery.sent_at)).where(Delivery.server_id == server_id, Delivery.sent_at > since)
    )
