"""Live tasks in pages: a snapshot's steps in plain words, and the stream of them as HTML fragments."""

from __future__ import annotations

import threading
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
    return [*_way_there(data), *steps] if data["kind"] == "test_send" else steps


def _way_there(data: Mapping[str, Any]) -> list[dict[str, Any]]:
    # What a letter goes through before its server is talked to.
    begun = data["state"] != "queued"
    taken = any(step["state"] != livesteps.WAITING for step in data["steps"])
    states = {"queued": "ok" if begun else "running", "sending": "ok" if taken else "running" if begun else "waiting"}
    return [{"step": step, "state": state, "label": LABELS[step]} for step, state in states.items()]


def _explanation(step: Mapping[str, Any], context: Mapping[str, Any]) -> Explanation | None:
    if step["state"] != "failed" or not step["code"]:
        return None
    return explain(
        FailureCode(step["code"]),
        preset=context.get("preset"),
        host=context["host"],
        port=context["port"],
        security=Security(context["security"]),
    )


def stream(
    account_id: uuid.UUID, task: str, *, template: str, give_up: Callable[[], object] | None = None, **words: Any
) -> Response:
    """Answers with the task's snapshots, each through `template` (`components/_live.html` or one that includes it).

    The template is given `id` (the task), `steps`, `result`, `headline`, `data` (the whole snapshot's) and `words`.
    When no worker has taken the task up in time, `give_up` is called; by default that ends it with `no_worker`.
    """

    # Not `render_template`, whose context processors would ask the database who is signed in, for every snapshot.
    fragment = current_app.jinja_env.get_template(template)

    # The request is over when the first snapshot comes; its copy is what addresses in the fragment are made with.
    @copy_current_request_context
    def render(snapshot: live.Snapshot) -> str:
        return fragment.render(**arguments(task, snapshot.data), **words)

    _watch(account_id, task, give_up or (lambda: livesteps.give_up(account_id, task)))
    return sse.stream(account_id, task, render)


def arguments(task: str, data: Mapping[str, Any]) -> dict[str, Any]:
    """What a template that shows a live task is given of it."""
    return {"id": task, "steps": view(data), "result": data["result"], "headline": data["headline"], "data": data}


def _watch(account_id: uuid.UUID, task: str, give_up: Callable[[], object]) -> None:
    try:
        seconds = livesteps.seconds_until_given_up(account_id, task)
    except redis.RedisError:
        return  # the stream cannot open either, and the browser comes back by itself
    if seconds is None:
        return
    timer = threading.Timer(seconds + 0.05, _quietly, args=(give_up,))
    timer.daemon = True
    timer.start()


def _quietly(act: Callable[[], object]) -> None:
    try:
        act()
    except redis.RedisError:
        return  # whoever looks next gives it up
