"""A mail server's rests: why, until when, and that its owner is told once."""

from __future__ import annotations

import datetime as dt
import uuid

from flask import current_app
from sqlalchemy import select, update

from panel import db, queue
from panel.accounts import service as accounts
from panel.addresses import service as addresses
from panel.config import Settings
from panel.outbox import service as outbox
from panel.servers.models import MailServer

REASONS = {
    "credentials": "it refused the user name or password",
    "sender_refused": "it does not let you send from this address",
    "quota": "its sending limit is used up for now",
    "server": "it could not be reached or did not work",
    "destination_not_allowed": "its name now leads to an address that may not be reached from here",
    "password_unreadable": "its stored password can no longer be read; please enter it again",
}


def count_failure(server_id: uuid.UUID, *, error: str) -> int:
    """Counts one more failure in a row and returns how many there are now."""
    with db.transaction() as session:
        counted = session.execute(
            update(MailServer)
            .where(MailServer.id == server_id)
            .values(failures_in_a_row=MailServer.failures_in_a_row + 1, last_error=error[:1000])
            .returning(MailServer.failures_in_a_row)
            .execution_options(synchronize_session=False)
        ).scalar()
    return counted or 0


def clear_failures(server_id: uuid.UUID) -> None:
    """It works again: the count starts anew, and the next trouble is told to the owner again."""
    with db.transaction() as session:
        session.execute(
            update(MailServer)
            .where(MailServer.id == server_id)
            .values(failures_in_a_row=0, last_error=None, owner_told_at=None, state="ready", paused_reason=None)
            .execution_options(synchronize_session=False)
        )


def pause(server_id: uuid.UUID, version: int, *, reason: str, until: dt.datetime | None, error: str) -> bool:
    """Lets a server rest, unless its settings were changed meanwhile; tells the owner if nobody has yet.

    until: when it is tried again by itself; None when somebody has to mend it first. Returns whether it was paused.
    """
    with db.transaction() as session:
        paused = session.execute(
            update(MailServer)
            .where(MailServer.id == server_id, MailServer.version == version)
            .values(state="paused", paused_reason=reason, paused_until=until, last_error=error[:1000])
            .returning(MailServer.id)
            .execution_options(synchronize_session=False)
        ).scalar()
        if paused is None:
            return False
        _tell_owner_once(server_id, reason)
    return True


def resume(server_id: uuid.UUID) -> None:
    """Ends a rest; what was held goes out with the ticker's next round."""
    with db.transaction() as session:
        session.execute(
            update(MailServer)
            .where(MailServer.id == server_id)
            .values(state="ready", paused_reason=None, paused_until=None, failures_in_a_row=0, owner_told_at=None)
            .execution_options(synchronize_session=False)
        )
        queue.ring_delivery_after_commit()


def end_pauses() -> None:
    """Ends the rests of this account's servers whose time is over. The count of failures stays, so that the next
    rest of a server that still does not work is longer."""
    over = (MailServer.state == "paused", MailServer.paused_until <= db.clock())
    if db.session().scalar(select(MailServer.id).where(*over).limit(1)) is None:
        return
    with db.transaction() as session:
        session.execute(
            update(MailServer)
            .where(*over)
            .values(state="ready", paused_reason=None, paused_until=None)
            .execution_options(synchronize_session=False)
        )


def _tell_owner_once(server_id: uuid.UUID, reason: str) -> None:
    told = (
        db.session()
        .execute(
            update(MailServer)
            .where(MailServer.id == server_id, MailServer.owner_told_at.is_(None))
            .values(owner_told_at=db.now())
            .returning(MailServer.address_id, MailServer.host)
            .execution_options(synchronize_session=False)
        )
        .one_or_none()
    )
    if told is None:
        return
    settings: Settings = current_app.extensions["ownpost"]
    address = addresses.get(told.address_id)
    link = f"{settings.public_url}/settings/email/{told.address_id}/server"
    text = (
        f"Your mail server {told.host} does not send for {address.email} at the moment: {REASONS[reason]}.\n\n"
        "Nothing is lost: your campaigns' letters wait, and go out by themselves once it works again.\n\n"
        f"See what is wrong and mend it here:\n{link}\n"
    )
    for owner in accounts.owners():
        outbox.put_system_letter(
            to_address=owner.email,
            subject=f"Your mail server for {address.email} needs a look",
            text=text,
            html=None,
            from_domain=settings.platform_from.address.rpartition("@")[2],
        )
