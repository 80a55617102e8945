"""Server-sent events: a live task's snapshots as HTML fragments."""

from __future__ import annotations

import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator

import redis
from flask import Response, request
from sqlalchemy.exc import SQLAlchemyError

from panel import db, live
from panel.web import identity, sessions

# Each open stream occupies a thread; pages must have the rest, and other accounts' streams too.
MAX_STREAMS = 48
MAX_OF_ACCOUNT = 16
# Then it ends and the browser comes back, which only those can who still may: a sign-in's time runs out, too.
LONGEST = 300.0  # seconds
# So often (seconds) a stream asks whether its sign-in was ended: soon for whoever signed out, seldom for the database.
ASK_EVERY = 5.0

_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


class _Places:
    """How many streams are open, in all and of each account."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken: Counter[uuid.UUID] = Counter()

    def take(self, account_id: uuid.UUID) -> bool:
        """Takes a place, if there is one."""
        with self._lock:
            if self._taken.total() >= MAX_STREAMS or self._taken[account_id] >= MAX_OF_ACCOUNT:
                return False
            self._taken[account_id] += 1
            return True

    def give_back(self, account_id: uuid.UUID) -> None:
        """Gives it back."""
        with self._lock:
            self._taken[account_id] -= 1
            self._taken = +self._taken


_places = _Places()


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
    ended = _ending(sessions.goes_on())
    identity.release()
    db.release()
    if not _places.take(account_id):
        return Response("Too many live pages are open.", status=503, headers={"Retry-After": "15"})
    after = request.headers.get("Last-Event-ID", "0")
    if not _is_entry_id(after):
        after = "0"
    answer = Response(_events(account_id, task, after, render, ended), mimetype="text/event-stream", headers=_HEADERS)
    # Called when the answer is over, and also when the client left before it began.
    answer.call_on_close(lambda: _places.give_back(account_id))
    return answer


def _is_entry_id(text: str) -> bool:
    return all(part.isascii() and part.isdigit() for part in text.split("-", 1))


def _ending(goes_on: Callable[[], bool]) -> Callable[[], bool]:
    """Whether the sign-in is known to be ended. A database that is away ends nobody's."""
    asked = time.monotonic()

    def ended() -> bool:
        nonlocal asked
        if time.monotonic() - asked < ASK_EVERY:
            return False
        asked = time.monotonic()
        try:
            return not goes_on()
        except SQLAlchemyError:
            return False

    return ended


def _events(
    account_id: uuid.UUID,
    task: str,
    after: str,
    render: Callable[[live.Snapshot], str],
    ended: Callable[[], bool],
) -> Iterator[str]:
    # The first bytes go out at once: they tell the browser that the stream is open.
    yield ": open\n\n"
    end = time.monotonic() + LONGEST
    try:
        for snapshot in live.follow(account_id, task, after=after):
            if ended():
                return
            if snapshot is None:
                yield ": still here\n\n"
            else:
                yield message(render(snapshot), event_id=snapshot.id)
            if time.monotonic() >= end and not (snapshot and snapshot.over):
                return
    except redis.RedisError:
        return  # the browser comes back by itself
    yield message("", event="done")
