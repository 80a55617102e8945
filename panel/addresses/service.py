"""Outbound addresses: adding, confirming, choosing the default one, removing."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from flask import current_app, render_template, url_for
from itsdangerous import BadSignature, SignatureExpired, URLSafeTimedSerializer
from sqlalchemy import func, select, update
from sqlalchemy.exc import IntegrityError

from panel import db
from panel.accounts import service as accounts
from panel.addresses.models import MAX_NAME, OutboundAddress
from panel.config import Settings
from panel.message.addresses import canonical, check_header_text, for_strangers
from panel.outbox import service as outbox

__all__ = ["MAX_NAME", "OutboundAddress"]

LINK_DAYS = 7
"""How long the link in a confirmation letter works."""


@dataclass(frozen=True, slots=True, kw_only=True)
class By:
    """Who does something, for the audit log."""

    user_id: uuid.UUID | None = None
    ip: str = ""


NOBODY = By()
"""The program itself, as when it makes a demo."""


class AddressTaken(ValueError):
    """The account has this address already."""


class AddressInUse(ValueError):
    """Something still needs the address; the text says what."""


class BadLink(ValueError):
    """A confirmation link that is damaged, expired or about an address that is gone; the text says which."""


def all_addresses() -> list[OutboundAddress]:
    """The account's outbound addresses, the default one first."""
    order = (OutboundAddress.is_default.desc(), OutboundAddress.email)
    return list(db.session().scalars(select(OutboundAddress).order_by(*order)))


def get(address_id: uuid.UUID) -> OutboundAddress:
    """One outbound address of this account. Raises NotFound."""
    return db.owned(OutboundAddress, address_id)


def find(address_id: uuid.UUID) -> OutboundAddress | None:
    """One outbound address of this account, or None."""
    return db.session().scalar(select(OutboundAddress).where(OutboundAddress.id == address_id))


def default() -> OutboundAddress | None:
    """The address of campaigns that name none; None when the account has no address at all."""
    return db.session().scalar(select(OutboundAddress).where(OutboundAddress.is_default))


def add(*, email: str, display_name: str, by: By = NOBODY) -> OutboundAddress:
    """Adds an address, not yet confirmed, and mails its confirmation link. The first one becomes the default.

    Raises InvalidAddress, InvalidHeaderText or AddressTaken.
    """
    address = canonical(email)
    name = check_header_text(display_name, what="The display name", most=MAX_NAME)
    with db.transaction() as session:
        accounts.lock()  # two may add the same address at once, or the first one each
        if session.scalar(select(OutboundAddress.id).where(func.lower(OutboundAddress.email) == address.lower())):
            raise AddressTaken(f"{address} is one of your outbound addresses already.")
        row = OutboundAddress(id=uuid.uuid4(), email=address, display_name=name, is_default=default() is None)
        session.add(row)
        session.flush()
        accounts.audit("address.added", subject=address, user_id=by.user_id, ip=by.ip)
        send_link(row, by)
    return row


def add_confirmed(*, email: str, display_name: str) -> OutboundAddress:
    """Adds an address that the operator vouches for, as the default one: for the demo."""
    with db.transaction() as session:
        row = OutboundAddress(email=email, display_name=display_name, is_default=True, confirmed_at=db.now())
        session.add(row)
    return row


def rename(address_id: uuid.UUID, display_name: str, *, by: By = NOBODY) -> None:
    """Changes the name that recipients see beside the address. Raises InvalidHeaderText."""
    name = check_header_text(display_name, what="The display name", most=MAX_NAME)
    with db.transaction():
        row = get(address_id)
        row.display_name = name
        accounts.audit("address.renamed", subject=row.email, user_id=by.user_id, ip=by.ip)


def send_link(address: OutboundAddress, by: By) -> None:
    """Mails the confirmation link to the address, through the platform server."""
    # No name stands in it: an account chooses its own, and the address may be that of somebody who knows nobody here.
    asker = for_strangers(db.owned(accounts.User, by.user_id).email) if by.user_id else None
    settings: Settings = current_app.extensions["ownpost"]
    link = settings.public_url + url_for("addresses.confirm", token=_token(address))
    words = {"address": address, "asker": asker, "link": link, "days": LINK_DAYS}
    outbox.put_system_letter(
        to_address=address.email,
        subject=f"Confirm {address.email} for Ownpost",
        text=render_template("addresses/email/confirm.txt", **words),
        html=render_template("addresses/email/confirm.html", **words),
        from_domain=settings.platform_from.address.rpartition("@")[2],
    )


def read_link(token: str) -> tuple[uuid.UUID, uuid.UUID, str]:
    """What a confirmation link is about: account, address id and the address. Raises BadLink."""
    try:
        account, address_id, email = _links().loads(token, max_age=LINK_DAYS * 86_400)
    except SignatureExpired:
        raise BadLink(f"This link is older than {LINK_DAYS} days. Ask for a new one under Settings.") from None
    except BadSignature:
        raise BadLink("This link is not complete. Copy all of it from the letter.") from None
    return uuid.UUID(account), uuid.UUID(address_id), email


def of_link(address_id: uuid.UUID, email: str) -> OutboundAddress:
    """The address that a link is about, in its account's scope. Raises BadLink when it is gone."""
    row = find(address_id)
    if row is None or row.email != email:
        raise BadLink("This address was removed from its account since the letter was sent.")
    return row


def confirm(address: OutboundAddress, *, way: str) -> None:
    """Marks the address as known to be the account's, unless it is; `way` says how, for the audit log."""
    if address.confirmed_at is not None:
        return
    with db.transaction():
        address.confirmed_at = db.now()
        accounts.audit("address.confirmed", subject=address.email, way=way)


def make_default(address_id: uuid.UUID, *, by: By = NOBODY) -> None:
    """Makes it the address of campaigns that name none."""
    with db.transaction() as session:
        row = get(address_id)
        # The old one first: the index allows one default at any moment.
        session.execute(update(OutboundAddress).where(OutboundAddress.is_default).values(is_default=False))
        session.execute(update(OutboundAddress).where(OutboundAddress.id == row.id).values(is_default=True))
        accounts.audit("address.made_default", subject=row.email, user_id=by.user_id, ip=by.ip)


def remove(address_id: uuid.UUID, *, by: By = NOBODY) -> None:
    """Removes the address, and with it its mail server. Raises AddressInUse."""
    try:
        with db.transaction() as session:
            row = get(address_id)
            if row.is_default and len(all_addresses()) > 1:
                raise AddressInUse(f"{row.email} is your default address. Make another one the default first.")
            accounts.audit("address.removed", subject=row.email, user_id=by.user_id, ip=by.ip)
            session.delete(row)
    except IntegrityError:
        # A campaign holds on to it by a foreign key.
        raise AddressInUse("Campaigns send from this address. Choose another one for them first.") from None


def send_link_again(address: OutboundAddress, *, by: By = NOBODY) -> None:
    """Mails the confirmation link once more, as somebody asked."""
    with db.transaction():
        send_link(address, by)
        accounts.audit("address.link_sent", subject=address.email, user_id=by.user_id, ip=by.ip)


def _token(address: OutboundAddress) -> str:
    return str(_links().dumps([str(address.account_id), str(address.id), address.email]))


def _links() -> URLSafeTimedSerializer:
    settings: Settings = current_app.extensions["ownpost"]
    return URLSafeTimedSerializer(settings.secret_key, salt="outbound-address")
