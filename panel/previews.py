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
_MOST: Final = 20  # of an account; a letter may be as large as a megabyte, and Redis is everybody's


def _key(account_id: uuid.UUID, token: str) -> str:
    return f"ownpost:preview:{account_id}:{token}"


def _newest(account_id: uuid.UUID) -> str:
    return f"ownpost:previews:{account_id}"


def keep(html: str) -> str | None:
    """Keeps a previewed letter for its frame and returns its token; None when Redis is away."""
    account_id, token = db.account_id(), secrets.token_urlsafe(12)
    try:
        with queue.connection().pipeline() as pipe:
            pipe.set(_key(account_id, token), html, ex=_KEEP)
            pipe.lpush(_newest(account_id), token)
            pipe.expire(_newest(account_id), _KEEP)
            pipe.lrange(_newest(account_id), _MOST, -1)
            pipe.ltrim(_newest(account_id), 0, _MOST - 1)
            *_, too_many, _ = pipe.execute()
        for old in too_many:
            queue.connection().delete(_key(account_id, old.decode()))
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
