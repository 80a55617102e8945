"""What of a mail server hangs on an encryption key: its password, and the fingerprint of what passed a test."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import select

from panel import db, sealed
from panel.addresses.service import OutboundAddress
from panel.crypto import Keyring
from panel.servers import entry
from panel.servers.models import MailServer
from panel.servers.routing import SEALED_COLUMN


def renew(server: MailServer, keyring: Keyring) -> Mapping[str, str | None]:
    """Both with the first key. Raises UnknownKey or SealBroken. In a system scope.

    A fingerprint that is not that of these settings cannot be made anew, and means the same as before: not verified.
    """
    place = {"column": SEALED_COLUMN, "account_id": str(server.account_id), "row_id": str(server.id)}
    password = keyring.unseal(server.password_sealed, **place) if server.password_sealed else ""
    made: dict[str, str | None] = {"fingerprint_verified": server.fingerprint_verified}
    if server.password_sealed:
        made["password_sealed"] = keyring.seal(password, **place)
    address = db.session().scalars(select(OutboundAddress).where(OutboundAddress.id == server.address_id)).one()
    stored = entry.of_server(server, password=password)
    if entry.matches(server.fingerprint_verified, address, stored, keyring=keyring):
        made["fingerprint_verified"] = entry.fingerprint(address, stored, keyring=keyring)
    return made


sealed.register(MailServer, "password_sealed", "fingerprint_verified", renew=renew)
