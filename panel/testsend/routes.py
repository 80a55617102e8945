"""Send test email, and watch it go."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from typing import Any

from flask import Flask, Response, current_app, make_response, redirect, render_template, request, url_for
from flask_login import current_user
from werkzeug.wrappers import Response as BaseResponse

from panel import db
from panel.outbox.service import Delivery
from panel.testsend import service
from panel.web import access, limits, steps

blueprint = access.blueprint("testsend", __name__)

_NOTIFICATION = "/campaigns/<uuid:campaign_id>/notifications/<uuid:notification_id>/test-send"
_BLAST = "/campaigns/<uuid:campaign_id>/blasts/<uuid:blast_id>/test-send"

_LARGEST = 2**63 - 1  # a bigint

Here = dict[str, Any]
"""The ids that a page's address holds: of a campaign, and of one of its notifications or blasts."""


@blueprint.post(_NOTIFICATION)
def send(campaign_id: uuid.UUID, notification_id: uuid.UUID) -> Response | BaseResponse:
    """Sends a test of the saved version to a person of the account."""
    return _send({"campaign_id": campaign_id, "notification_id": notification_id})


@blueprint.post(_BLAST)
def send_blast(campaign_id: uuid.UUID, blast_id: uuid.UUID) -> Response | BaseResponse:
    """Sends a test of what is saved of a blast."""
    return _send({"campaign_id": campaign_id, "blast_id": blast_id})


def _send(here: Here) -> Response | BaseResponse:
    if wait := limits.hit_tests(db.account_id()):
        words = f"You have sent a lot of tests in a short time. Send another in {limits.in_words(wait)}."
        return _refused(words, 429, here, retry_after=wait)
    start: Callable[..., Delivery] = service.start_of_blast if "blast_id" in here else service.start
    try:
        delivery = start(**here, to_address=request.form.get("to", ""))
    except service.NotYours as error:
        return _refused(str(error), 422, here)
    except service.TooOften as error:
        words = (
            "Your mail server has been tested a lot, or has refused its password again and again. "
            f"Send another test in {limits.in_words(error.wait)}."
        )
        return _refused(words, 429, here, retry_after=error.wait)
    return _sent(delivery.id, here)


@blueprint.get(f"{_NOTIFICATION}/<int(max=9223372036854775807):delivery_id>")
def look(campaign_id: uuid.UUID, notification_id: uuid.UUID, delivery_id: int) -> Response | BaseResponse:
    """How it stands: for htmx the part of the page that says so, else the page."""
    return _look({"campaign_id": campaign_id, "notification_id": notification_id}, delivery_id)


@blueprint.get(f"{_BLAST}/<int(max=9223372036854775807):delivery_id>")
def look_blast(campaign_id: uuid.UUID, blast_id: uuid.UUID, delivery_id: int) -> Response | BaseResponse:
    """The same of a blast's test."""
    return _look({"campaign_id": campaign_id, "blast_id": blast_id}, delivery_id)


def _look(here: Here, delivery_id: int) -> Response | BaseResponse:
    _get(here, delivery_id)
    if "HX-Request" not in request.headers:
        return redirect(_page(here, test=delivery_id), 303)
    return make_response(render_template("testsend/_test.html", test=shown(delivery_id, here)))


@blueprint.get(f"{_NOTIFICATION}/<int(max=9223372036854775807):delivery_id>/stream")
def stream(campaign_id: uuid.UUID, notification_id: uuid.UUID, delivery_id: int) -> Response:
    """What happens to it, as it happens."""
    return _stream({"campaign_id": campaign_id, "notification_id": notification_id}, delivery_id)


@blueprint.get(f"{_BLAST}/<int(max=9223372036854775807):delivery_id>/stream")
def stream_blast(campaign_id: uuid.UUID, blast_id: uuid.UUID, delivery_id: int) -> Response:
    """The same of a blast's test."""
    return _stream({"campaign_id": campaign_id, "blast_id": blast_id}, delivery_id)


def _stream(here: Here, delivery_id: int) -> Response:
    _get(here, delivery_id)
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]
    account_id, closed = db.account_id(), threading.Event()
    answer = steps.stream(
        account_id,
        service.task_of(delivery_id),
        template="testsend/_live.html",
        give_up=lambda: service.watch(app, account_id, delivery_id, closed),
        **_urls(here, delivery_id),
    )
    answer.call_on_close(closed.set)
    return answer


def _get(here: Here, delivery_id: int) -> Delivery:
    if "blast_id" in here:
        found = service.get_of_blast(here["blast_id"], delivery_id)
    else:
        found = service.get(here["notification_id"], delivery_id)
    if found.campaign_id != here["campaign_id"]:
        raise db.NotFound("no such test send in this campaign")
    return found


def shown(delivery_id: int, here: Here) -> dict[str, Any]:
    """What the page shows of a test send. Raises NotFound."""
    data = service.snapshot(_get(here, delivery_id))
    return steps.arguments(service.task_of(delivery_id), data) | _urls(here, delivery_id)


def _urls(here: Here, delivery_id: int) -> dict[str, str]:
    kind = "_blast" if "blast_id" in here else ""
    return {
        "stream_url": url_for(f"testsend.stream{kind}", delivery_id=delivery_id, **here),
        "look_url": url_for(f"testsend.look{kind}", delivery_id=delivery_id, **here),
        "label": "Test email",
    }


def _page(here: Here, **arguments: Any) -> str:
    """The editor's page."""
    return url_for("blasts.show" if "blast_id" in here else "campaigns.notification", **here, **arguments)


@blueprint.app_template_global("asked_test_send")
def asked_test_send(campaign_id: uuid.UUID, notification_id: uuid.UUID) -> dict[str, Any] | None:
    """The test send that the page's address names, so that a reload shows it again; None when there is no such one."""
    return _asked({"campaign_id": campaign_id, "notification_id": notification_id})


@blueprint.app_template_global("asked_blast_test")
def asked_blast_test(campaign_id: uuid.UUID, blast_id: uuid.UUID) -> dict[str, Any] | None:
    """The same on a blast's page."""
    return _asked({"campaign_id": campaign_id, "blast_id": blast_id})


def _asked(here: Here) -> dict[str, Any] | None:
    asked = request.args.get("test", type=int)
    if asked is None or not 0 < asked <= _LARGEST or not current_user.is_authenticated:
        return None
    try:
        return shown(asked, here)
    except db.NotFound:
        return None


def _sent(delivery_id: int, here: Here) -> Response | BaseResponse:
    page = _page(here, test=delivery_id)
    if "HX-Request" not in request.headers:
        return redirect(page, 303)
    answer = make_response(render_template("testsend/_test.html", test=shown(delivery_id, here)))
    answer.headers["HX-Replace-Url"] = page
    return answer


def _refused(message: str, status: int, here: Here, *, retry_after: int | None = None) -> Response:
    if "HX-Request" in request.headers:
        answer = make_response(render_template("testsend/_refused.html", message=message), status)
        # The page swaps in what a 422 says by itself, and this one too.
        answer.headers["HX-Reswap"] = "innerHTML"
    else:
        answer = make_response(render_template("testsend/refused.html", message=message, back=_page(here)), status)
    if retry_after is not None:
        answer.headers["Retry-After"] = str(retry_after)
    return answer
