"""Live tasks: a job publishes what happens to a Redis stream; a page reads it, from the start or from where it was.

A task is known by an unguessable id. Its stream expires a while after the last thing it said. Every entry holds the
whole picture so far (a *snapshot*), so that a page which joins late or resumes shows the same as one that saw it all.
"""

from __future__ import annotations

import json
import secrets
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import redis
import structlog

from panel import queue

log = structlog.get_logger(__name__)

_KEEP = 600  # seconds that a stream is kept after its last entry
_SECRET_KEEP = 120  # seconds that what an unsaved test needs is kept
_BLOCK = 2000  # milliseconds; redis-py gives up on a read after 5 s


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One entry of a task's stream: its id there, the picture, and whether it is the last one."""

    id: str
    data: dict[str, Any]
    over: bool


def new_id() -> str:
    """An unguessable task id."""
    return secrets.token_urlsafe(16)


def _key(account_id: uuid.UUID, task: str, what: str) -> str:
    # The account is part of the key: another account's task is simply not there.
    return f"ownpost:live:{account_id}:{task}:{what}"


def publish(account_id: uuid.UUID, task: str, data: dict[str, Any], *, over: bool = False, keep: int = 200) -> None:
    """Appends a snapshot. A Redis that is away loses the picture, not the work.

    keep: how many snapshots a page that joins late is shown; 1 for a task that has no beginning worth seeing.
    """
    key = _key(account_id, task, "stream")
    try:
        with queue.connection().pipeline() as pipe:
            pipe.xadd(key, {"data": json.dumps(data), "over": int(over)}, maxlen=keep, approximate=keep > 1)
            pipe.expire(key, _KEEP)
            pipe.execute()
    except redis.RedisError as error:
        log.warning("live step not published", error=type(error).__name__)


def latest(account_id: uuid.UUID, task: str) -> Snapshot | None:
    """The newest snapshot, or None when the task has said nothing or is forgotten."""
    entries: Any = queue.connection().xrevrange(_key(account_id, task, "stream"), count=1)
    return _snapshot(*entries[0]) if entries else None


def follow(account_id: uuid.UUID, task: str, *, after: str = "0") -> Iterator[Snapshot | None]:
    """Yields snapshots after entry `after` as they come, and None about every two seconds of silence, for a heartbeat.

    Ends after the snapshot that is over.
    """
    key = _key(account_id, task, "stream")
    while True:
        found: Any = queue.connection().xread({key: after}, block=_BLOCK, count=50)
        if not found:
            yield None
            continue
        for entry_id, fields in found[0][1]:
            snapshot = _snapshot(entry_id, fields)
            after = snapshot.id
            yield snapshot
            if snapshot.over:
                return


def _snapshot(entry_id: bytes, fields: dict[bytes, bytes]) -> Snapshot:
    return Snapshot(id=entry_id.decode(), data=json.loads(fields[b"data"]), over=fields[b"over"] == b"1")


def claim(account_id: uuid.UUID, task: str) -> bool:
    """Marks a task as taken up; False if another worker has it already (a job may come twice)."""
    return bool(queue.connection().set(_key(account_id, task, "claim"), "1", nx=True, ex=_KEEP))


def taken_up(account_id: uuid.UUID, task: str) -> bool:
    """Whether a worker has taken the task up."""
    return bool(queue.connection().exists(_key(account_id, task, "claim")))


def cancel(account_id: uuid.UUID, task: str) -> None:
    """Asks the worker to stop. A task that is over does not notice."""
    queue.connection().set(_key(account_id, task, "cancel"), "1", ex=_KEEP)


def is_canceled(account_id: uuid.UUID, task: str) -> bool:
    """Whether somebody asked the task to stop."""
    return bool(queue.connection().exists(_key(account_id, task, "cancel")))


def put_input(account_id: uuid.UUID, task: str, data: dict[str, Any]) -> None:
    """Leaves what the job needs and no row has. Secrets in it must be sealed. Expires within 2 minutes."""
    queue.connection().set(_key(account_id, task, "input"), json.dumps(data), ex=_SECRET_KEEP)


def take_input(account_id: uuid.UUID, task: str) -> dict[str, Any] | None:
    """Takes it, once; None when it has expired or was taken."""
    raw: Any = queue.connection().getdel(_key(account_id, task, "input"))
    return json.loads(raw) if raw else None
