"""Letters that nobody has saved, kept for the frame that shows them."""

from __future__ import annotations

import secrets
import uuid
from typing import Final

import redis
import structlog

from panel import db, queue

log = structlog.get_logger(__name__)

_KEEP: Final = 900  # seconds that a previewed letter waits for its frame


def _key(account_id: uuid.UUID, token: str) -> str:
    return f"ownpost:preview:{account_id}:{token}"


def keep(html: str) -> str | None:
    """Keeps a previewed letter for its frame and returns its token; None when Redis is away."""
    token = secrets.token_urlsafe(12)
    try:
        queue.connection().set(_key(db.account_id(), token), html, ex=_KEEP)
    except redis.RedisError as error:
        log.warning("preview not kept", error=type(error).__name__)
        return None
    return token


def kept(token: str) -> str | None:
    """A letter that was kept for this account; None when it is forgotten."""
    try:
        found = queue.connection().get(_key(db.account_id(), token))
    except redis.RedisError:
        return None
    return found.decode() if isinstance(found, bytes) else None
