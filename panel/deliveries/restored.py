"""A database that was restored from a backup: it sends nothing until a person says what becomes of what it holds.

What waited when the backup was made may have been sent since. So a person either knows that it was not, or has it
canceled, and sends again what is still wanted.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable
from typing import Final

from sqlalchemy import func, select, update

from panel import db, mark, queue
from panel.accounts import service as accounts
from panel.deliveries.models import BulkAction
from panel.outbox import states
from panel.outbox.service import Delivery

REASON: Final = "restored"

_WAITING: Final = (*states.DUE, "held")
_AT_ONCE: Final = 2_000


def turn(blasts_wait: Callable[[], bool]) -> bool:
    """One round of the ticker: whether it, and everybody, may go on. In no scope; needs the app."""
    with db.system_scope("the ticker sees whether this is the database that was here before"):
        return mark.turn(may_repeat=lambda: _sent_or_waits() or blasts_wait(), newest=newest)


def _sent_or_waits() -> bool:
    # What waits in a copy may have been sent since it was made.
    some = Delivery.state.in_((*_WAITING, "sending", "sent", "uncertain", "bounced"))
    return db.session().scalar(select(Delivery.id).where(some).limit(1)) is not None


def newest() -> int:
    """The newest delivery's number. In a system scope."""
    return db.session().scalar(select(func.max(Delivery.id))) or 0


def doubtful(stop: mark.Stop) -> int:
    """How many letters may have been sent since the backup was made. In a system scope."""
    wanted = select(func.count()).select_from(Delivery).where(Delivery.state.in_((*_WAITING, "sending")))
    return db.session().scalar(wanted.where(Delivery.id <= _upto(stop))) or 0


def _upto(stop: mark.Stop) -> int:
    return newest() if stop.through is None else stop.through


def cancel_due(stop: mark.Stop) -> int:
    """Cancels what waited in the backup, and ends what people had begun to send again; says how many letters.

    What came in since the database was restored stays. In a system scope.
    """
    by_account = Counter[uuid.UUID]()
    mine = Delivery.id <= _upto(stop), Delivery.state.in_(_WAITING)
    some = select(Delivery.id).where(*mine).order_by(Delivery.id).limit(_AT_ONCE)
    while True:
        with db.transaction() as session:
            changed = session.scalars(
                update(Delivery)
                .where(Delivery.id.in_(list(session.scalars(some))), Delivery.state.in_(_WAITING))
                .values(state="canceled", reason=REASON, held_at=None, lease_owner=None, lease_until=None)
                .returning(Delivery.account_id)
                .execution_options(synchronize_session=False)
            ).all()
        by_account.update(changed)
        if not changed:
            break
    with db.transaction() as session:
        session.execute(
            update(BulkAction)
            .where(BulkAction.ended_at.is_(None), BulkAction.made_at < stop.at)
            .values(ended_at=db.now())
            .execution_options(synchronize_session=False)
        )
        for account_id, count in by_account.items():
            accounts.audit("deliveries.canceled_after_restore", account_id=account_id, count=count)
    return by_account.total()


def go_on() -> None:
    """Sends again from here on. In a system scope."""
    mark.release()
    queue.ring_delivery()
