"""Server-sent events: a live task's snapshots as HTML fragments."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator

import redis
from flask import Response, request

from panel import db, live
from panel.web import identity

# Each open stream occupies a thread; pages must have the rest.
MAX_STREAMS = 48
_open_streams = threading.BoundedSemaphore(MAX_STREAMS)

_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


def message(data: str, *, event_id: str | None = None, event: str | None = None) -> str:
    """One event (WHATWG HTML §9.2). The data may have several lines."""
    head = [f"id: {event_id}"] if event_id else []
    if event:
        head.append(f"event: {event}")
    # A client that lost the stream comes back after a second; `retry:` is only heeded beside data.
    return "\n".join([*head, "retry: 1000", *(f"data: {line}" for line in data.splitlines() or [""])]) + "\n\n"


def stream(account_id: uuid.UUID, task: str, render: Callable[[live.Snapshot], str]) -> Response:
    """Answers with the task's snapshots, each rendered, resuming after `Last-Event-ID`; ends with a `done` event.

    `render` runs outside the request, so it must not need one. 503 when too many streams are open.
    """
    if not _open_streams.acquire(blocking=False):
        return Response("Too many live pages are open.", status=503, headers={"Retry-After": "15"})
    identity.release()
    db.release()
    after = request.headers.get("Last-Event-ID", "0")
    if not _is_entry_id(after):
        after = "0"
    answer = Response(_events(account_id, task, after, render), mimetype="text/event-stream", headers=_HEADERS)
    # Called when the answer is over, and also when the client left before it began.
    answer.call_on_close(_open_streams.release)
    return answer


def _is_entry_id(text: str) -> bool:
    return all(part.isascii() and part.isdigit() for part in text.split("-", 1))


def _events(account_id: uuid.UUID, task: str, after: str, render: Callable[[live.Snapshot], str]) -> Iterator[str]:
    # The first bytes go out at once: they tell the browser that the stream is open.
    yield ": open\n\n"
    try:
        for snapshot in live.follow(account_id, task, after=after):
            if snapshot is None:
                yield ": still here\n\n"
                continue
            yield message(render(snapshot), event_id=snapshot.id)
    except redis.RedisError:
        return  # the browser comes back by itself
    yield message("", event="done")
