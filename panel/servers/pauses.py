"""A mail server's rests: why, until when, and that its owner is told of each."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Any, Final

from flask import current_app
from sqlalchemy import ColumnElement, and_, case, or_, select, update

from panel import db, queue
from panel.accounts import service as accounts
from panel.addresses import service as addresses
from panel.addresses.service import OutboundAddress
from panel.config import Settings
from panel.outbox import service as outbox
from panel.servers import signin
from panel.servers.models import MailServer
from panel.servers.routing import PasswordUnreadable, stored_password

REASONS: Final = {
    "credentials": "it refused the user name or password",
    "sender_refused": "it does not let you send from this address",
    "quota": "its sending limit is used up for now",
    "server": "it could not be reached or did not work",
    "destination_not_allowed": "its name now leads to an address that may not be reached from here",
    "password_unreadable": "its stored password can no longer be read; please enter it again",
}
# What may pass by itself; the others wait for a person, who has to know of each.
_PASSES: Final = "server"
_UNREADABLE: Final = "password_unreadable"
# Nothing is wrong with a server whose quota is used up, and it may be so every day: the banner tells it.
_NOT_BY_MAIL: Final = "quota"
# Seconds; one that works and fails by turns is told of once a day.
_TOLD_AGAIN_AFTER: Final = 86_400.0
# Seconds; an outage that is never seen to end is told of anew, as is another one that cannot be told from it.
_REMINDED_AFTER: Final = 7 * 86_400.0


def count_failure(server_id: uuid.UUID, version: int, *, error: str, at_least: int = 0) -> int | None:
    """Counts one more failure in a row and returns how many there are now, and at least `at_least`.

    None, and nothing counted, when the server rests already or has other settings by now: letters that were on their
    way meanwhile say nothing new.
    """
    more = MailServer.failures_in_a_row + 1
    with db.transaction() as session:
        return session.execute(
            update(MailServer)
            .where(MailServer.id == server_id, MailServer.version == version, MailServer.state == "ready")
            .values(failures_in_a_row=case((more < at_least, at_least), else_=more), last_error=error[:1000])
            .returning(MailServer.failures_in_a_row)
            .execution_options(synchronize_session=False)
        ).scalar()


def clear_failures(server_id: uuid.UUID, version: int) -> bool:
    """It works again: the count starts anew. Whether there was something to clear, which is false while it rests."""
    with db.transaction() as session:
        cleared = session.execute(
            update(MailServer)
            .where(
                MailServer.id == server_id,
                MailServer.version == version,
                MailServer.state == "ready",
                MailServer.failures_in_a_row > 0,
            )
            .values(failures_in_a_row=0, last_error=None, owner_told_reason=None)
            .returning(MailServer.id)
            .execution_options(synchronize_session=False)
        ).scalar()
        if cleared is not None:
            queue.ring_delivery_after_commit()
            free_after_commit()
    return cleared is not None


def pause(server_id: uuid.UUID, version: int, *, reason: str, until: dt.datetime | None, error: str) -> bool:
    """Lets a server rest, unless its settings were changed meanwhile; tells the owner if nobody has yet.

    until: when it is tried again by itself; None when somebody has to mend it first. A rest that is under way may
    become longer and never shorter. Returns whether it was paused by this.
    """
    longer = or_(MailServer.state == "ready", MailServer.paused_until < until) if until else MailServer.id == server_id
    with db.transaction() as session:
        paused = session.execute(
            update(MailServer)
            .where(MailServer.id == server_id, MailServer.version == version, longer)
            .values(state="paused", paused_reason=reason, paused_until=until, last_error=error[:1000])
            .returning(MailServer.id)
            .execution_options(synchronize_session=False)
        ).scalar()
        if paused is None:
            return False
        if reason != _NOT_BY_MAIL:
            _tell_owner_once(server_id, reason)
    return True


def failing_lanes() -> dict[uuid.UUID, uuid.UUID]:
    """The lanes whose own server was in trouble and has not worked since, each with that server: what a worker may try
    one letter of at a time. In a system scope.

    A lane is known by its outbound address; that of letters that name none, by the account.
    """
    query = (
        select(MailServer.id, OutboundAddress.id, OutboundAddress.account_id, OutboundAddress.is_default)
        .join(OutboundAddress, MailServer.address_id == OutboundAddress.id)
        .where(MailServer.failures_in_a_row > 0, MailServer.state == "ready", MailServer.enabled)
    )
    lanes: dict[uuid.UUID, uuid.UUID] = {}
    for server_id, address_id, account_id, is_default in db.session().execute(query):
        lanes[address_id] = server_id
        if is_default:
            lanes[account_id] = server_id
    return lanes


def forget_in_errors(address: str) -> None:
    """Takes out what servers said of a person who was deleted. In a transaction."""
    about = MailServer.last_error.icontains(address, autoescape=True)
    gone = update(MailServer).where(about).values(last_error=None, changed_at=MailServer.changed_at)
    db.session().execute(gone.execution_options(synchronize_session=False))


def rest(server_id: uuid.UUID, version: int, *, until: dt.datetime) -> None:
    """Lets a server have a moment in which nothing of its lanes begins; its letters wait as they are."""
    with db.transaction() as session:
        session.execute(
            update(MailServer)
            .where(
                MailServer.id == server_id,
                MailServer.version == version,
                or_(MailServer.told_to_wait_until.is_(None), MailServer.told_to_wait_until < until),
            )
            .values(told_to_wait_until=until)
            .execution_options(synchronize_session=False)
        )


def resume(server_id: uuid.UUID) -> None:
    """Ends a rest; what was held goes out."""
    with db.transaction() as session:
        session.execute(
            update(MailServer)
            .where(MailServer.id == server_id)
            .values(
                state="ready",
                paused_reason=None,
                paused_until=None,
                failures_in_a_row=0,
                owner_told_at=None,
                owner_told_reason=None,
                auth_tries=0,
                auth_tried_at=None,
            )
            .execution_options(synchronize_session=False)
        )
        free_after_commit()


def free_after_commit() -> None:
    """Has what this account holds looked at once the current transaction is committed: a reason for it is gone."""
    account_id = str(db.account_id())
    db.after_commit(lambda: queue.ring(queue.HOUSEKEEPING, "jobs.holds.free", account_id))


def end_pauses() -> None:
    """Ends the rests of this account's servers whose time is over, and of those whose password can be read again.

    The count of failures stays, so that one letter tries first and the next rest of a server that still does not work
    is longer. That its owner knows of an outage stays, too: only a letter that the server takes ends one.
    """
    is_over = MailServer.paused_until <= db.clock()
    resting = db.session().execute(select(MailServer, is_over).where(MailServer.state == "paused")).all()
    readable = [server.id for server, _ in resting if server.paused_reason == _UNREADABLE and _is_readable(server)]
    if not (readable or any(over for _, over in resting)):
        return
    paused = MailServer.state == "paused", or_(is_over, MailServer.id.in_(readable))
    known = case((MailServer.owner_told_reason == _PASSES, _PASSES), else_=None)
    with db.transaction() as session:
        _wait_for_sign_ins()
        session.execute(
            update(MailServer)
            .where(*paused)
            .values(state="ready", paused_reason=None, paused_until=None, owner_told_reason=known)
            .execution_options(synchronize_session=False)
        )


def _wait_for_sign_ins() -> None:
    """Lengthens rests that are over while the password may not be tried again yet."""
    over = MailServer.state == "paused", MailServer.paused_until <= db.clock(), signin.spent()
    tried = select(MailServer.id, MailServer.auth_tried_at).where(*over).with_for_update()
    for server_id, at in db.session().execute(tried).all():
        assert at is not None  # `spent` says so
        db.session().execute(
            update(MailServer)
            .where(MailServer.id == server_id)
            .values(paused_until=at + dt.timedelta(seconds=signin.HOUR))
            .execution_options(synchronize_session=False)
        )


def _is_readable(server: MailServer) -> bool:
    try:
        stored_password(server)
    except PasswordUnreadable:
        return False
    return True


def _unknown_outage() -> ColumnElement[bool]:
    """Whether the owner is to be told of a server that does not work. It is asked at each failed trial, so one that
    began within a day of the last letter is told when that is over."""
    last = MailServer.owner_told_at
    another = and_(last < db.clock(-_TOLD_AGAIN_AFTER), MailServer.owner_told_reason.is_distinct_from(_PASSES))
    return or_(last.is_(None), another, last < db.clock(-_REMINDED_AFTER))


def _tell_owner_once(server_id: uuid.UUID, reason: str) -> None:
    unknown = MailServer.owner_told_reason.is_distinct_from(reason)
    known: dict[str, Any] = {"owner_told_reason": reason}
    if reason == _PASSES:
        unknown = _unknown_outage()
        known["owner_told_at"] = db.clock()
    told = (
        db.session()
        .execute(
            update(MailServer)
            .where(MailServer.id == server_id, unknown)
            .values(**known)
            .returning(MailServer.address_id, MailServer.host)
            .execution_options(synchronize_session=False)
        )
        .one_or_none()
    )
    if told is None:
        return
    email = addresses.get(told.address_id).email
    tell_owners(
        subject=f"Your mail server for {email} needs a look",
        text=(
            f"Your mail server {told.host} does not send for {email} at the moment: {REASONS[reason]}.\n\n"
            "Nothing is lost: your campaigns' letters wait, and go out by themselves once it works again.\n\n"
            f"See what is wrong and mend it here:\n{link_to(told.address_id)}\n"
        ),
    )


def link_to(address_id: uuid.UUID) -> str:
    """The page of an address's server, for letters."""
    settings: Settings = current_app.extensions["ownpost"]
    return f"{settings.public_url}/settings/email/{address_id}/server"


def tell_owners(*, subject: str, text: str) -> None:
    """Mails the account's owners, by the platform's server. In a transaction, or makes one for each letter."""
    settings: Settings = current_app.extensions["ownpost"]
    for owner in accounts.owners():
        outbox.put_system_letter(
            to_address=owner.email,
            subject=subject,
            text=text,
            html=None,
            from_domain=settings.platform_from.address.rpartition("@")[2],
        )
