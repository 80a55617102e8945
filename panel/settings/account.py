"""What is so for the whole account."""

from __future__ import annotations

from sqlalchemy.exc import IntegrityError

from panel import db
from panel.accounts import service as accounts
from panel.accounts.service import AlreadyThere
from panel.addresses.service import By


def change(*, name: str, time_zone: str, postal_address: str, by: By) -> None:
    """Sets it. Raises AlreadyThere when another account has the name: operators know accounts by it."""
    wanted = {"name": name, "time_zone": time_zone, "postal_address": postal_address}
    try:
        with db.transaction():
            account = accounts.current()
            changed = [field for field, value in wanted.items() if getattr(account, field) != value]
            for field in changed:
                setattr(account, field, wanted[field])
            if changed:
                accounts.audit("account.changed", subject=name, user_id=by.user_id, ip=by.ip, fields=changed)
    except IntegrityError:
        raise AlreadyThere("Another account has this name. Choose a different one.") from None
