"""Send test email, and watch it go."""

from __future__ import annotations

import threading
import uuid
from typing import Any

from flask import Flask, Response, current_app, make_response, redirect, render_template, request, url_for
from flask_login import current_user
from werkzeug.wrappers import Response as BaseResponse

from panel import db
from panel.testsend import service
from panel.web import access, limits, steps

blueprint = access.blueprint("testsend", __name__)

_BASE = "/campaigns/<uuid:campaign_id>/notifications/<uuid:notification_id>/test-send"


@blueprint.post(_BASE)
def send(campaign_id: uuid.UUID, notification_id: uuid.UUID) -> Response | BaseResponse:
    """Sends a test of the saved version to a person of the account."""
    here: dict[str, Any] = {"campaign_id": campaign_id, "notification_id": notification_id}
    wait = limits.hit_tests(db.account_id())
    if wait is not None:
        words = f"You have sent a lot of tests in a short time. Send another in {wait} seconds."
        return _refused(words, 429, here, retry_after=wait)
    try:
        delivery = service.start(notification_id, campaign_id=campaign_id, to_address=request.form.get("to", ""))
    except service.NotYours as error:
        return _refused(str(error), 422, here)
    return _sent(delivery.id, here)


@blueprint.get(f"{_BASE}/<int:delivery_id>")
def look(campaign_id: uuid.UUID, notification_id: uuid.UUID, delivery_id: int) -> Response | BaseResponse:
    """How it stands: for htmx the part of the page that says so, else the page."""
    here: dict[str, Any] = {"campaign_id": campaign_id, "notification_id": notification_id}
    service.get(notification_id, delivery_id)
    if "HX-Request" not in request.headers:
        return redirect(url_for("campaigns.notification", test=delivery_id, **here), 303)
    return make_response(render_template("testsend/_test.html", test=shown(delivery_id, **here)))


@blueprint.get(f"{_BASE}/<int:delivery_id>/stream")
def stream(campaign_id: uuid.UUID, notification_id: uuid.UUID, delivery_id: int) -> Response:
    """What happens to it, as it happens."""
    service.get(notification_id, delivery_id)
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]
    account_id, closed = db.account_id(), threading.Event()
    answer = steps.stream(
        account_id,
        service.task_of(delivery_id),
        template="testsend/_live.html",
        give_up=lambda: service.watch(app, account_id, delivery_id, closed),
        **_urls(campaign_id, notification_id, delivery_id),
    )
    answer.call_on_close(closed.set)
    return answer


def shown(delivery_id: int, *, campaign_id: uuid.UUID, notification_id: uuid.UUID) -> dict[str, Any]:
    """What the page shows of a test send. Raises NotFound."""
    data = service.snapshot(service.get(notification_id, delivery_id))
    return steps.arguments(service.task_of(delivery_id), data) | _urls(campaign_id, notification_id, delivery_id)


def _urls(campaign_id: uuid.UUID, notification_id: uuid.UUID, delivery_id: int) -> dict[str, str]:
    here: dict[str, Any] = {"campaign_id": campaign_id, "notification_id": notification_id, "delivery_id": delivery_id}
    return {
        "stream_url": url_for("testsend.stream", **here),
        "look_url": url_for("testsend.look", **here),
        "label": "Test email",
    }


@blueprint.app_template_global("asked_test_send")
def asked_test_send(campaign_id: uuid.UUID, notification_id: uuid.UUID) -> dict[str, Any] | None:
    """The test send that the page's address names, so that a reload shows it again; None when there is no such one."""
    asked = request.args.get("test", type=int)
    if asked is None or not current_user.is_authenticated:
        return None
    try:
        return shown(asked, campaign_id=campaign_id, notification_id=notification_id)
    except db.NotFound:
        return None


def _sent(delivery_id: int, here: dict[str, Any]) -> Response | BaseResponse:
    page = url_for("campaigns.notification", test=delivery_id, **here)
    if "HX-Request" not in request.headers:
        return redirect(page, 303)
    answer = make_response(render_template("testsend/_test.html", test=shown(delivery_id, **here)))
    answer.headers["HX-Replace-Url"] = page
    return answer


def _refused(message: str, status: int, here: dict[str, Any], *, retry_after: int | None = None) -> Response:
    if "HX-Request" in request.headers:
        answer = make_response(render_template("testsend/_refused.html", message=message), status)
        # The page swaps in what a 422 says by itself, and this one too.
        answer.headers["HX-Reswap"] = "innerHTML"
    else:
        back = url_for("campaigns.notification", **here)
        answer = make_response(render_template("testsend/refused.html", message=message, back=back), status)
    if retry_after is not None:
        answer.headers["Retry-After"] = str(retry_after)
    return answer
