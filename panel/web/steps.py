"""Live tasks in pages: a snapshot's steps in plain words, and the stream of them as HTML fragments."""

from __future__ import annotations

import contextlib
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any

import redis
from flask import Response, copy_current_request_context, current_app

from panel import live, livesteps
from panel.smtp.explain import Explanation, explain
from panel.smtp.outcome import FailureCode
from panel.smtp.settings import Security
from panel.web import sse

LABELS = {
    "queued": "Wait for a worker",
    "sending": "Begin to send",
    "resolve": "Look up the server’s name",
    "connect": "Connect to it",
    "greeting": "Hear its greeting",
    "tls": "Encrypt the connection",
    "hello": "Introduce ourselves",
    "auth": "Sign in",
    "sender": "Offer your address as the sender",
    "recipient": "Offer a recipient",
    "data": "Hand over the letter",
    "quit": "Say goodbye",
}


def view(data: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The steps of a snapshot's data as `components/live.html` takes them: with a label and, failed, an explanation."""
    steps = [
        {**step, "label": LABELS[step["step"]], "explanation": _explanation(step, data["context"])}
        for step in data["steps"]
    ]
    if data["kind"] != "test_send":
        return steps
    # What no worker has begun has no steps to show yet.
    begun = not (data["extra"].get("no_worker") or data["extra"].get("waits"))
    return [*_way_there(data), *(steps if begun else [])]


def _way_there(data: Mapping[str, Any]) -> list[dict[str, Any]]:
    # What a letter goes through before its server is talked to.
    if data["extra"].get("no_worker"):
        queued, sending = "failed", "skipped"
    elif data["state"] == "queued":
        queued, sending = "running", "waiting"
    else:
        taken = data["result"] or any(step["state"] != livesteps.WAITING for step in data["steps"])
        queued, sending = "ok", "ok" if taken else "running"
    code = str(FailureCode.NO_WORKER) if queued == "failed" else None
    return [
        {"step": "queued", "state": queued, "label": LABELS["queued"], "code": code},
        {"step": "sending", "state": sending, "label": LABELS["sending"]},
    ]


def _explanation(step: Mapping[str, Any], context: Mapping[str, Any]) -> Explanation | None:
    if step["state"] != "failed" or not step["code"]:
        return None
    return explain(
        FailureCode(step["code"]),
        preset=context.get("preset"),
        host=context["host"],
        port=context["port"],
        security=Security(context["security"]),
        reply=step["reply"],
    )


def stream(
    account_id: uuid.UUID, task: str, *, template: str, give_up: Callable[[], object] | None = None, **words: Any
) -> Response:
    """Answers with the task's snapshots, each through `template` (`components/_live.html` or one that includes it).

    The template is given `id` (the task), `steps`, `result`, `headline`, `data` (the whole snapshot's) and `words`.
    `give_up` is called when the task is too old to be waiting for a worker; by default that ends it with `no_worker`.
    """
    # Not `render_template`, whose context processors would ask the database who is signed in, for every snapshot.
    fragment = current_app.jinja_env.get_template(template)

    # The request is over when the first snapshot comes; its copy is what addresses in the fragment are made with.
    @copy_current_request_context
    def render(snapshot: live.Snapshot) -> str:
        return fragment.render(**arguments(task, snapshot.data), **words)

    answer = sse.stream(account_id, task, render)
    if answer.status_code == 200:
        for timer in _watch(account_id, task, give_up or (lambda: livesteps.give_up(account_id, task))):
            answer.call_on_close(timer.cancel)
    return answer


def arguments(task: str, data: Mapping[str, Any]) -> dict[str, Any]:
    """What a template that shows a live task is given of it."""
    return {"id": task, "steps": view(data), "result": data["result"], "headline": data["headline"], "data": data}


def _watch(account_id: uuid.UUID, task: str, give_up: Callable[[], object]) -> list[threading.Timer]:
    # While a stream is open somebody waits, and nobody else may be there to notice that no worker does anything.
    try:
        snapshot = live.latest(account_id, task)
    except redis.RedisError:
        return []  # the stream ends at once, and the browser comes back by itself
    if snapshot is None or snapshot.over:
        return []
    looks = [(livesteps.NO_WORKER_AFTER, give_up)]
    if snapshot.data["kind"] == "connection_test":
        looks.append((livesteps.SILENT_AFTER, lambda: livesteps.end_if_silent(account_id, task)))
    age = time.time() - float(snapshot.data["started_at"])
    return [_after(seconds - age, act) for seconds, act in looks]


def _after(seconds: float, act: Callable[[], object]) -> threading.Timer:
    def quietly() -> None:
        with contextlib.suppress(redis.RedisError):  # whoever looks next does it
            act()

    timer = threading.Timer(max(0.0, seconds) + 0.01, quietly)
    timer.daemon = True
    timer.start()
    return timer
