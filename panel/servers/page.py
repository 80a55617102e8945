"""What the page of a mail server answers: whole, or for htmx the part that changes."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from flask import Response, current_app, flash, make_response, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from panel import db, live
from panel.addresses import service as addresses
from panel.addresses.service import OutboundAddress
from panel.config import Settings
from panel.servers import service
from panel.servers.forms import ServerForm
from panel.smtp.presets import OFFERED, PRESETS
from panel.web import steps


@dataclass(frozen=True, slots=True)
class UsageRow:
    """One limit: how much of it is used, in the last what, and when it renews."""

    window: str
    used: int
    limit: int
    full: bool
    span: str
    renews: str


@dataclass(frozen=True, slots=True)
class Used:
    """All of a server's limits, and what waits for it; both empty where it has none."""

    rows: list[UsageRow]
    waiting: str


def show(
    address_id: uuid.UUID,
    form: ServerForm | None = None,
    *,
    status: int = 200,
    test: tuple[str, dict[str, Any]] | None = None,
    notice: str | None = None,
) -> Response:
    """The page, with the form as stored unless one is given. htmx gets the panel that holds the form."""
    words = _words(address_id, form, notice)
    if _is_htmx():
        answer = make_response(render_template("servers/_server.html", **words), status)
        answer.headers["HX-Retarget"] = "#server"
        # A form with errors is morphed, so that the password that was typed stays where it is.
        answer.headers["HX-Reswap"] = "outerMorph" if status == 422 else "outerHTML"
        if status == 200:
            answer.headers["HX-Trigger"] = "ownpost:saved"
        return answer
    task, data = test or (None, None)
    shown = steps.arguments(task, data) | test_urls(address_id, task) if task and data else None
    return make_response(render_template("servers/edit.html", test=shown, **words), status)


def saved(address_id: uuid.UUID, notice: str) -> Response | BaseResponse:
    """The answer to a form that was stored."""
    if _is_htmx():
        return show(address_id, notice=notice)
    flash(notice, "success")
    return redirect(url_for("servers.edit", address_id=address_id), 303)


def testing(address_id: uuid.UUID, task: str) -> Response | BaseResponse:
    """The answer to a form whose settings are being tested."""
    here = url_for("servers.test", address_id=address_id, task=task)
    if not _is_htmx():
        return redirect(here, 303)
    snapshot = live.latest(db.account_id(), task)
    if snapshot is None:
        return redirect(here, 303)
    shown = steps.arguments(task, snapshot.data) | test_urls(address_id, task)
    answer = make_response(render_template("servers/_test.html", test=shown, focus=True))
    # A reload then comes back to this test.
    answer.headers["HX-Replace-Url"] = here
    return answer


def fields(address: OutboundAddress, form: ServerForm, name: str, others: Iterable[str]) -> str:
    """A field, and beside it those that it makes right or wrong, each with its errors and slips."""
    server = service.for_address(address.id)
    words = {"form": form, "address": address, "server": server}
    slips = form.slips(address.email)
    # An empty field that nobody has been to yet is not wrong yet.
    shown = [other for other in others if form[other].data]
    # A stored password may have to be typed again now. A field with something in it is left alone.
    if name != "password" and not form.password.data and server is not None and server.password_sealed:
        shown.append("password")
    return render_template("servers/_fields.html", names=[name, *shown], slips=slips, **words)


def test_urls(address_id: uuid.UUID, task: str) -> dict[str, Any]:
    """Where a test's stream, its end and its form are."""
    return {
        "stream_url": url_for("servers.test_stream", address_id=address_id, task=task),
        "cancel_url": url_for("servers.cancel_test", address_id=address_id, task=task),
        "form_url": url_for("servers.edit", address_id=address_id),
        "label": "Connection test",
    }


def _words(address_id: uuid.UUID, form: ServerForm | None, notice: str | None) -> dict[str, Any]:
    settings: Settings = current_app.extensions["ownpost"]
    address = addresses.get(address_id)
    server = service.for_address(address_id)
    form = form or ServerForm.filled(server)
    return {
        "address": address,
        "server": server,
        "route": service.route_of(address_id),
        "form": form,
        "slips": form.slips(address.email),
        "presets": [PRESETS[key] for key in OFFERED],
        "platform_from": settings.platform_from,
        "limits": service.limits_of(server) if server else None,
        "usage": usage(address_id),
        "notice": notice,
    }


def usage(address_id: uuid.UUID) -> Used:
    """How much of the server's limits is used, and what waits."""
    route = service.route_of(address_id)
    now, found = service.usage(route)
    return Used([_row(one, now) for one in found], service.waiting_words(route) if found else "")


def _row(one: service.Usage, now: float) -> UsageRow:
    span = {"minute": "minute", "hour": "hour", "day": "24 hours"}[one.window.name]
    renews = ""
    if one.renews_at is not None and (one.full or one.window.name != "minute"):
        when = service.about(dt.datetime.fromtimestamp(max(one.renews_at, now), dt.UTC), roughly=False)
        renews = f"used up; goes on {when}" if one.full else f"renews from {when.removeprefix('at ')} on"
    return UsageRow(one.window.name, one.used, one.limit, one.full, span, renews)


def _is_htmx() -> bool:
    return "HX-Request" in request.headers
