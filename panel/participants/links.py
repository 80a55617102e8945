"""The signed links by which a participant unsubscribes or says what they want to read.

A link names its participant and nobody can make one up; it never expires, as people unsubscribe from old letters too.
"""

from __future__ import annotations

import hmac
import uuid
from base64 import urlsafe_b64decode, urlsafe_b64encode
from functools import lru_cache
from typing import Final

from flask import current_app
from itsdangerous import BadSignature, URLSafeSerializer

from panel import db
from panel.config import Settings
from panel.participants.models import Participant

_SALT: Final = "unsubscribe"
_IDS: Final = 32  # octets of the two ids, which come first
_LENGTH: Final = 64  # characters of a token: the ids and 16 octets that prove them


def _settings() -> Settings:
    settings = current_app.extensions["ownpost"]
    assert isinstance(settings, Settings)
    return settings


@lru_cache(maxsize=4)
def _key(secret: str) -> bytes:
    # A key for these links alone, so that what is signed elsewhere is no link.
    return hmac.digest(secret.encode(), b"ownpost:" + _SALT.encode(), "sha256")


def _proof(ids: bytes) -> bytes:
    return hmac.digest(_key(_settings().secret_key), ids, "sha256")[:16]


def unsubscribe_token(participant: Participant) -> str:
    """What stands in the participant's links."""
    return token_of(participant.account_id, participant.id)


def token_of(account_id: uuid.UUID, participant_id: uuid.UUID) -> str:
    """The same, of a participant that need not be loaded; always the same for the same one.

    Made for every letter of a blast at the moment of sending, so it must cost next to nothing.
    """
    ids = account_id.bytes + participant_id.bytes
    return urlsafe_b64encode(ids + _proof(ids)).decode()


def unsubscribe_url(participant: Participant) -> str:
    """Where a GET asks whether to unsubscribe, and a POST does it (RFC 8058)."""
    return f"{_settings().public_url}/u/{unsubscribe_token(participant)}"


def preferences_url(participant: Participant) -> str:
    """Where the participant chooses what to receive."""
    return f"{_settings().public_url}/p/{unsubscribe_token(participant)}"


def find_by_token(token: str) -> Participant | None:
    """Whose link this is; None for one that was made up or whose participant is gone.

    Opens the scope of the account that the token names, as nobody is signed in; to change anything, open
    `db.account_scope(participant.account_id)`.
    """
    found = _read(token) if len(token) == _LENGTH else _read_signed(token)
    if found is None:
        return None
    with db.account_scope(found[0]) as session:
        return session.get(Participant, found[1])


def _read(token: str) -> tuple[uuid.UUID, uuid.UUID] | None:
    try:
        octets = urlsafe_b64decode(token.encode("ascii"))
    except ValueError:
        return None
    ids, proof = octets[:_IDS], octets[_IDS:]
    if not hmac.compare_digest(proof, _proof(ids)):
        return None
    return uuid.UUID(bytes=ids[:16]), uuid.UUID(bytes=ids[16:])


def _read_signed(token: str) -> tuple[uuid.UUID, uuid.UUID] | None:
    """The form that links had at first, which letters still hold."""
    try:
        account, participant = URLSafeSerializer(_settings().secret_key, salt=_SALT).loads(token)
        return uuid.UUID(account), uuid.UUID(participant)
    except (BadSignature, ValueError):
        return None
