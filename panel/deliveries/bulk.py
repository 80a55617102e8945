"""*Resend* and *Mark as sent* for all of a filter: shown before, done once, in parts that a request or a job bears."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from sqlalchemy import ColumnElement, and_, exists, func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import aliased

from panel import db, queue
from panel.accounts import service as accounts
from panel.deliveries import reasons, resending
from panel.deliveries.models import BulkAction
from panel.deliveries.wanted import Filter
from panel.outbox import service as outbox
from panel.outbox.service import Delivery
from panel.redact import without
from panel.suppressions import service as suppressions

RESEND: Final = "resend"
MARK_AS_SENT: Final = "mark_as_sent"
WHAT: Final = (RESEND, MARK_AS_SENT)

# `sent` ones are sent again one by one: nobody should mail a whole campaign twice by a filter that was too wide.
_RESENT_BY_FILTER: Final = ("uncertain", "failed", "canceled", "expired")

PART: Final = 1_000  # deliveries in a transaction; what is not more than one part is done while the person waits
_COUNTED_AT_MOST: Final = 10_000  # on the log, where it must be quick
_LOST_AFTER: Final = 30.0  # seconds without a sign of its job
_JOB_SECONDS: Final = 900

_AUDIT: Final = {RESEND: "deliveries.resent", MARK_AS_SENT: "deliveries.marked_as_sent"}


class Grown(Exception):
    """More deliveries are like that now than the person was shown."""


@dataclass(frozen=True, slots=True)
class Part:
    """Deliveries of a plan that are in the same state for the same reason."""

    state: str
    why: str
    count: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What would be done: to how many, of which kinds; those who are suppressed are left out."""

    what: str
    parts: Sequence[Part]
    suppressed: int
    last: int

    @property
    def total(self) -> int:
        """How many it is done to."""
        return sum(part.count for part in self.parts)

    @property
    def uncertain(self) -> int:
        """How many of them may have arrived already."""
        return sum(part.count for part in self.parts if part.state == "uncertain")


@dataclass(frozen=True, slots=True)
class Offer:
    """Something that could be done to all that the log shows; `more` says that there are more than were counted."""

    what: str
    count: int
    more: bool


def _candidates(what: str, wanted: Filter) -> list[ColumnElement[bool]]:
    if what == MARK_AS_SENT:
        return [*wanted.conditions(), Delivery.state == "uncertain"]
    newer = aliased(Delivery)
    return [
        *wanted.conditions(),
        Delivery.state.in_(_RESENT_BY_FILTER),
        Delivery.blanked_at.is_(None),  # nothing is left of the others to make a letter of
        Delivery.kind != "system",  # they hold links that are of no use later, and are other people's own
        ~exists().where(newer.account_id == Delivery.account_id, newer.resend_of == Delivery.id),
    ]


def offers(wanted: Filter) -> list[Offer]:
    """What could be done to all of a filter. Nothing without one: all letters of all times are never meant."""
    if not wanted.as_query():
        return []
    found = []
    for what in WHAT:
        some = select(Delivery.id).where(*_candidates(what, wanted)).limit(_COUNTED_AT_MOST + 1).subquery()
        count = db.session().scalar(select(func.count()).select_from(some)) or 0
        if count:
            found.append(Offer(what, min(count, _COUNTED_AT_MOST), count > _COUNTED_AT_MOST))
    return found


def plan(what: str, wanted: Filter, *, last: int | None = None) -> Plan:
    """What would be done now; `last`: deliveries made after that one are not meant."""
    if last is None:
        last = db.session().scalar(select(func.max(Delivery.id))) or 0
    stopped = and_(
        Delivery.participant_id.is_not(None),
        suppressions.stands_against(Delivery.account_id, Delivery.to_address, Delivery.campaign_id),
    )
    which = (stopped if what == RESEND else Delivery.id.is_(None)).label("stopped")
    rows = db.session().execute(
        select(Delivery.state, Delivery.reason, which, func.count())
        .where(*_candidates(what, wanted), Delivery.id <= last)
        .group_by(Delivery.state, Delivery.reason, which)
    )
    counted = [(state, reasons.words(reason), bool(left_out), count) for state, reason, left_out, count in rows]
    parts = [Part(state, why, count) for state, why, left_out, count in counted if not left_out]
    return Plan(
        what=what,
        parts=sorted(parts, key=lambda part: (_RESENT_BY_FILTER.index(part.state), -part.count)),
        suppressed=sum(count for _, _, left_out, count in counted if left_out),
        last=last,
    )


def start(
    action_id: uuid.UUID, what: str, wanted: Filter, *, seen: int, last: int, user_id: uuid.UUID | None, ip: str = ""
) -> BulkAction:
    """Does it, or has a job do it when there are many. The same id again changes nothing.

    Raises Grown when there are more than the `seen` ones that the person agreed to.
    """
    try:
        return _start(action_id, what, wanted, seen=seen, last=last, user_id=user_id, ip=ip)
    except IntegrityError:
        return get(action_id)  # the same form, sent twice at the same time


def _start(
    action_id: uuid.UUID, what: str, wanted: Filter, *, seen: int, last: int, user_id: uuid.UUID | None, ip: str
) -> BulkAction:
    with db.transaction() as session:
        earlier = session.get(BulkAction, action_id)
        if earlier is not None:
            return earlier
        planned = plan(what, wanted, last=last)
        total = planned.total
        if total > seen:
            raise Grown
        action = BulkAction(id=action_id, what=what, wanted=wanted.as_query(), made_by=user_id, total=total, last=last)
        session.add(action)
        session.flush()
        accounts.audit(
            _AUDIT[what], subject=str(action_id), user_id=user_id, ip=ip, filter=wanted.as_query(), deliveries=total
        )
        if total + planned.suppressed > PART:
            db.after_commit(partial(_ring, db.account_id(), action_id))
        else:
            while action.ended_at is None:
                _do_part(action)
    return action


def get(action_id: uuid.UUID) -> BulkAction:
    """One action of this account. Raises NotFound."""
    return db.owned(BulkAction, action_id)


def go_on(action_id: uuid.UUID) -> bool:
    """Does the next part, in a transaction of its own; False when nothing is left. Raises NotFound."""
    with db.transaction() as session:
        mine = select(BulkAction).where(BulkAction.id == action_id).with_for_update()
        action = session.scalar(mine.execution_options(populate_existing=True))
        if action is None:
            raise db.NotFound("no such BulkAction")
        if action.ended_at is None:
            _do_part(action)
        more = action.ended_at is None
    session.expunge_all()  # a hundred parts are not kept in memory
    return more


def _do_part(action: BulkAction) -> None:
    wanted = Filter.read(action.wanted)
    found = list(
        db.session().scalars(
            select(Delivery)
            .where(*_candidates(action.what, wanted), Delivery.id > action.reached, Delivery.id <= action.last)
            .order_by(Delivery.id)
            .limit(PART)
            .with_for_update()  # whoever would send one of them again waits, and then sees that it was
            .execution_options(populate_existing=True)
        )
    )
    if found:
        action.reached = found[-1].id
        (_resend if action.what == RESEND else _mark_as_sent)(action, found)
    action.touched_at = db.now()
    if len(found) < PART:
        action.ended_at = db.now()


def _resend(action: BulkAction, found: Sequence[Delivery]) -> None:
    # Asked again, now that they are locked: another may have sent some while this one waited for the locks.
    again = outbox.resent([one.id for one in found])
    stopped = resending.suppressed(found)
    mine = [one for one in found if one.id not in again and one.id not in stopped]
    # As a blast's: what was queued for somebody just now goes first.
    resending.renew(mine, priority=outbox.PRIORITY["blast"])
    action.done += len(mine)
    action.left_out += len(stopped)


def _mark_as_sent(action: BulkAction, found: Sequence[Delivery]) -> None:
    action.done += len(outbox.change([one.id for one in found], "uncertain", "sent", reason="marked_as_sent"))


def _ring(account_id: uuid.UUID, action_id: uuid.UUID) -> bool:
    job = "jobs.bulk.run"
    return queue.ring(queue.HOUSEKEEPING, job, str(account_id), str(action_id), timeout=_JOB_SECONDS)


def tend() -> None:
    """Rings again for what has shown no sign of its job for a while. In a system scope; called by the ticker."""
    silent = BulkAction.ended_at.is_(None), BulkAction.touched_at < db.clock(-_LOST_AFTER)
    if db.session().scalar(select(BulkAction.id).where(*silent).limit(1)) is None:
        return
    with db.transaction() as session:
        lost = update(BulkAction).where(*silent).values(touched_at=db.clock())
        for account_id, action_id in session.execute(lost.returning(BulkAction.account_id, BulkAction.id)):
            db.after_commit(partial(_ring, account_id, action_id))


def forget_in_filters(address: str, *, campaign_id: uuid.UUID | None = None) -> None:
    """Takes the address of a person who was deleted out of what was once filtered by: in the campaign, or anywhere. In
    a transaction, until whose end all actions for that address wait.

    An action that is under way for them ends: nothing of theirs is left, and without the address it means others.
    """
    about = BulkAction.wanted["to"].as_string().icontains(address, autoescape=True)
    for action in db.session().scalars(select(BulkAction).where(about).with_for_update()):
        if campaign_id is not None and Filter.read(action.wanted).campaign_id != campaign_id:
            continue  # it is for others of that address, too
        left = without(action.wanted, address)
        if left != action.wanted:  # else it is for somebody whose address only ends or begins like this one
            action.wanted, action.ended_at = left, action.ended_at or db.now()
