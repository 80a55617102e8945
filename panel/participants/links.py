"""The signed links by which a participant unsubscribes or says what they want to read.

A link names its participant and nobody can make one up; it never expires, as people unsubscribe from old letters too.
"""

from __future__ import annotations

import uuid
from typing import Final

from flask import current_app
from itsdangerous import BadSignature, URLSafeSerializer

from panel import db
from panel.config import Settings
from panel.participants.models import Participant

_SALT: Final = "unsubscribe"


def _settings() -> Settings:
    settings = current_app.extensions["ownpost"]
    assert isinstance(settings, Settings)
    return settings


def _signer() -> URLSafeSerializer:
    return URLSafeSerializer(_settings().secret_key, salt=_SALT)


def unsubscribe_token(participant: Participant) -> str:
    """What stands in the participant's links."""
    token = _signer().dumps([participant.account_id.hex, participant.id.hex])
    assert isinstance(token, str)
    return token


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
    try:
        account, participant = _signer().loads(token)
    except (BadSignature, ValueError):
        return None
    with db.account_scope(uuid.UUID(account)) as session:
        return session.get(Participant, uuid.UUID(participant))
