"""The account's API keys: made, listed and revoked by its owners."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from sqlalchemy import select

from panel import db
from panel.accounts import service as accounts
from panel.accounts.service import ApiKey
from panel.addresses.service import By


def all_keys() -> list[ApiKey]:
    """The account's keys: those that work first, the newest of them first."""
    order = (ApiKey.revoked_at.is_not(None), ApiKey.made_at.desc())
    return list(db.session().scalars(select(ApiKey).order_by(*order)))


def make(label: str, scopes: Sequence[str], by: By) -> str:
    """Makes a key and returns it. It can never be shown again."""
    return accounts.add_api_key(label, scopes=scopes, user_id=by.user_id, ip=by.ip)


def revoke(key_id: uuid.UUID, by: By) -> None:
    """Ends a key, from the next call on. Raises NotFound."""
    with db.transaction():
        key = db.owned(ApiKey, key_id)
        if key.revoked_at is None:
            key.revoked_at = db.now()
            subject = key.label or key.prefix
            accounts.audit("api_key.revoked", subject=subject, user_id=by.user_id, ip=by.ip, prefix=key.prefix)
