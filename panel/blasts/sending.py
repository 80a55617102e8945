"""A blast on its way: begun exactly once, paused, resumed, canceled; what the ticker does for it.

Every change of a blast's state is one conditional UPDATE, so of two who press a button at once one does it.
"""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Any, Final

import structlog
from flask import current_app, render_template, url_for
from sqlalchemy import Select, or_, select, update

from panel import db
from panel.accounts import service as accounts
from panel.blasts import rows
from panel.blasts.audience import Audience
from panel.blasts.models import Blast
from panel.campaigns import service as campaigns
from panel.config import Settings
from panel.deliveries import service as deliveries
from panel.outbox import service as outbox
from panel.outbox.service import ManyOrders
from panel.redact import without

log = structlog.get_logger(__name__)

LATE: Final = dt.timedelta(hours=1)
"""A blast that could not start for so long is not started without its owner's word."""

STARTABLE: Final = ("draft", "scheduled", "asking")
SCHEDULABLE: Final = ("draft", "asking")
STOPPABLE: Final = ("scheduled", "asking", "sending", "paused")

_CANCELED: Final = "blast_canceled"
_PATIENCE: Final = 3.0
"""Seconds that a button waits for letters which a worker is changing at that moment: else a batch that is being claimed
would leave. What is left then is the ticker's."""


class NotNow(ValueError):
    """The blast is in no state for that; the text says so in plain words."""


def send(
    blast_id: uuid.UUID,
    *,
    version_id: uuid.UUID | None = None,
    user_id: uuid.UUID | None = None,
    states: tuple[str, ...] = STARTABLE,
) -> bool:
    """Queues a letter for everybody in the audience who may be mailed, in one transaction; False if somebody else did.

    `version_id`: the words that whoever says so has seen; with others it raises NotNow. A crash leaves nothing behind.
    """
    with db.transaction() as session:
        # Before the blast itself: who deletes somebody holds them in this order, too.
        campaigns.lock_crowd(db.owned(Blast, blast_id).campaign_id, shared=True)
        seen = [] if version_id is None else [Blast.version_id == version_id]
        taken = _change(blast_id, states, "sending", *seen, started_at=db.now())
        if not taken:
            _check_words(blast_id, version_id, states)
            return False
        blast = session.get_one(Blast, blast_id, populate_existing=True)
        reach = _queue(blast)
        blast.recipients, blast.left_out = reach.recipients, reach.left_out
        if not reach.recipients:
            blast.state, blast.finished_at = "done", db.now()
        note("blast.sent", blast_id, user_id=user_id, recipients=reach.recipients)
    return True


def note(action: str, blast_id: uuid.UUID, *, user_id: uuid.UUID | None = None, **details: Any) -> None:
    """Writes down what somebody did to a blast, by its subject line. In the current transaction."""
    version_id = db.session().scalar(select(Blast.version_id).where(Blast.id == blast_id))
    called = campaigns.get_version(version_id).subject if version_id else ""
    accounts.audit(action, subject=called, user_id=user_id, blast=str(blast_id), **details)


def _check_words(blast_id: uuid.UUID, version_id: uuid.UUID | None, states: tuple[str, ...]) -> None:
    blast = db.owned(Blast, blast_id)
    if version_id is not None and blast.version_id != version_id and blast.state in states:
        raise NotNow("Somebody has changed this blast since you looked at it. Look at it again before you send it.")


def _queue(blast: Blast) -> rows.Reach:
    campaign = campaigns.get(blast.campaign_id)
    audience = Audience.of(blast.audience)
    orders = ManyOrders(
        blast_id=blast.id,
        from_domain=deliveries.from_domain(campaign.address_id),
        campaign_id=campaign.id,
        address_id=campaign.address_id,
        notification_version_id=blast.version_id,
        priority=outbox.PRIORITY["blast"],
    )
    wanted = rows.wanted(campaign.id, audience)
    tags_used = campaigns.get_version(blast.version_id).tags_used
    recipients = outbox.put_all(orders, rows.rows(campaign, audience, tags_used))
    # People come and go between two statements.
    return rows.Reach(recipients=recipients, left_out=max(0, wanted - recipients))


def schedule(
    blast_id: uuid.UUID, at: dt.datetime, *, version_id: uuid.UUID | None = None, user_id: uuid.UUID | None = None
) -> bool:
    """Has a draft, or one that could not start in time, sent at that time; False if it is neither any more.

    Raises NotNow as `send` does.
    """
    with db.transaction():
        seen = [] if version_id is None else [Blast.version_id == version_id]
        taken = _change(blast_id, SCHEDULABLE, "scheduled", *seen, scheduled_at=at)
        if taken:
            note("blast.scheduled", blast_id, user_id=user_id, at=at.isoformat())
        else:
            _check_words(blast_id, version_id, SCHEDULABLE)
    return taken


def to_draft(blast_id: uuid.UUID) -> bool:
    """Takes back a schedule, so that the blast may be changed; False if it is on its way."""
    with db.transaction():
        taken = _change(blast_id, ("scheduled", "asking"), "draft", scheduled_at=None)
        if taken:
            note("blast.unscheduled", blast_id)
    return taken


def pause(blast_id: uuid.UUID, *, user_id: uuid.UUID | None = None) -> bool:
    """Stops a blast, but for letters that are leaving at this moment, until it is resumed; False if none is running."""
    with db.transaction():
        taken = _change(blast_id, ("sending",), "paused")
        if taken:
            note("blast.paused", blast_id, user_id=user_id)
    if taken:
        outbox.pause_blast(blast_id, as_long_as=_is(blast_id, "paused"), patience=_PATIENCE)
    return taken


def resume(blast_id: uuid.UUID, *, user_id: uuid.UUID | None = None) -> bool:
    """Goes on with a paused blast where it stopped; False if it is not paused."""
    with db.transaction():
        taken = _change(blast_id, ("paused",), "sending")
        if taken:
            note("blast.resumed", blast_id, user_id=user_id)
    if taken:
        outbox.resume_blast(blast_id, as_long_as=_is(blast_id, "sending"), patience=_PATIENCE)
    return taken


def cancel(blast_id: uuid.UUID, *, user_id: uuid.UUID | None = None) -> bool:
    """Ends a blast: what has not begun to leave never will. False if it has ended, or was never to be sent."""
    with db.transaction():
        taken = _change(blast_id, STOPPABLE, "canceled")
        if taken:
            note("blast.canceled", blast_id, user_id=user_id)
    if taken:
        wanted = _is(blast_id, "canceled")
        outbox.cancel_blast(blast_id, as_long_as=wanted, reason=_CANCELED, patience=_PATIENCE)
        _end_if_over(blast_id, "canceled", "canceled")
    return taken


def _change(blast_id: uuid.UUID, before: tuple[str, ...], after: str, *also: Any, **row: Any) -> bool:
    changed = db.session().execute(
        update(Blast)
        .where(Blast.id == blast_id, Blast.state.in_(before), *also)
        .values(state=after, **row)
        .returning(Blast.id)
        .execution_options(synchronize_session=False)
    )
    return changed.scalar() is not None


def _is(blast_id: uuid.UUID, state: str) -> Select[uuid.UUID]:
    """The blast's row while it is in that state."""
    return select(Blast.id).where(Blast.id == blast_id, Blast.state == state)


def _end_if_over(blast_id: uuid.UUID, before: str, after: str) -> None:
    if outbox.is_blast_over(blast_id):
        with db.transaction():
            _change(blast_id, (before,), after, Blast.finished_at.is_(None), finished_at=db.now())


def asking() -> list[Blast]:
    """Blasts of this account that wait for a person's word, as they could not start in time."""
    return list(db.session().scalars(select(Blast).where(Blast.state == "asking").order_by(Blast.scheduled_at)))


def ask_about_due() -> int:
    """Has the owners of blasts whose time has come asked instead of starting them: after a restore they may have been
    sent before. In a system scope; says how many blasts."""
    with db.transaction() as session:
        due = Blast.state == "scheduled", Blast.scheduled_at <= db.now()
        wanted = update(Blast).where(*due).values(state="asking").returning(Blast.id)
        return len(session.scalars(wanted.execution_options(synchronize_session=False)).all())


def forget_in_audiences(address: str, *, campaign_id: uuid.UUID | None = None) -> None:
    """Takes the address of a person who was deleted out of what blasts are for: the campaign's, or all. In a
    transaction."""
    about = [Blast.audience["search"].as_string().icontains(address, autoescape=True)]
    if campaign_id is not None:
        about.append(Blast.campaign_id == campaign_id)
    for blast in db.session().scalars(select(Blast).where(*about)):
        blast.audience = without(blast.audience, address)


def is_any_scheduled() -> bool:
    """Whether a blast waits for its time. In a system scope."""
    return db.session().scalar(select(Blast.id).where(Blast.state == "scheduled").limit(1)) is not None


def tick() -> None:
    """One round of the ticker: starts what is due, and looks after what is on its way. In no scope."""
    with db.system_scope("the ticker looks for blasts that are due or on their way"):
        due = or_(Blast.state.in_(("sending", "paused", "canceled")), Blast.scheduled_at <= db.now())
        wanted = select(Blast.account_id, Blast.id).where(
            Blast.state.not_in(("draft", "asking")), Blast.finished_at.is_(None), due
        )
        found = [tuple(row) for row in db.session().execute(wanted)]
    for account_id, blast_id in found:
        try:
            with db.account_scope(account_id):
                _look_after(blast_id)
        except Exception:
            # One account's blast that cannot go on must not keep the others' from it.
            log.exception("a blast could not be looked after", blast=str(blast_id))


def _look_after(blast_id: uuid.UUID) -> None:
    blast = db.owned(Blast, blast_id)
    db.release()
    if blast.state == "scheduled" and blast.scheduled_at is not None:
        if db.now() - blast.scheduled_at > LATE:
            _ask(blast)
        else:
            send(blast_id, states=("scheduled",))
    elif blast.state == "sending":
        # Whoever paused it may still have been at it when somebody resumed it.
        outbox.resume_blast(blast_id, as_long_as=_is(blast_id, "sending"))
        _end_if_over(blast_id, "sending", "done")
    elif blast.state == "paused":
        # Letters that were on their way then, and are to be tried again.
        outbox.pause_blast(blast_id, as_long_as=_is(blast_id, "paused"))
        _end_if_over(blast_id, "paused", "done")
    elif blast.state == "canceled":
        outbox.cancel_blast(blast_id, as_long_as=_is(blast_id, "canceled"), reason=_CANCELED)
        _end_if_over(blast_id, "canceled", "canceled")


def _ask(blast: Blast) -> None:
    """Asks the owners whether a blast that is late is still wanted, once."""
    settings: Settings = current_app.extensions["ownpost"]
    campaign = campaigns.get(blast.campaign_id)
    subject = campaigns.get_version(blast.version_id).subject
    assert blast.scheduled_at is not None
    at = blast.scheduled_at.astimezone(accounts.zone())
    words = {
        "subject": subject,
        "campaign": campaign.name,
        "at": f"{at.day} {at:%B %Y, %H:%M}",
        "link": settings.public_url + url_for("blasts.show", campaign_id=campaign.id, blast_id=blast.id),
    }
    with db.transaction():
        if not _change(blast.id, ("scheduled",), "asking"):
            return
        for owner in accounts.owners():
            outbox.put_system_letter(
                to_address=owner.email,
                subject="A blast did not start in time: do you still want it?",
                text=render_template("blasts/email/asking.txt", **words),
                html=render_template("blasts/email/asking.html", **words),
                from_domain=settings.platform_from.address.rpartition("@")[2],
            )
