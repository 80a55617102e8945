"""Send test email, and watch it go."""

from __future__ import annotations

import uuid
from typing import Any

from flask import Response, abort, make_response, redirect, render_template, request, url_for
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
        return _refused(f"That were many tests at once. Please try again in {wait} s.", 429, here, retry_after=wait)
    try:
        delivery = service.start(notification_id, campaign_id=campaign_id, to_address=request.form.get("to", ""))
    except service.NotYours as error:
        return _refused(str(error), 422, here)
    page = url_for("campaigns.notification", test=delivery.id, _anchor="test-send", **here)
    if "HX-Request" not in request.headers:
        return redirect(page, 303)
    answer = make_response(render_template("testsend/_test.html", test=shown(delivery.id, **here)))
    answer.headers["HX-Replace-Url"] = page
    return answer


@blueprint.get(f"{_BASE}/<int:delivery_id>/stream")
def stream(campaign_id: uuid.UUID, notification_id: uuid.UUID, delivery_id: int) -> Response:
    """What happens to it, as it happens."""
    if shown(delivery_id, campaign_id=campaign_id, notification_id=notification_id) is None:
        abort(404)
    account_id = db.account_id()
    return steps.stream(
        account_id,
        service.task_of(delivery_id),
        template="testsend/_live.html",
        give_up=lambda: service.give_up(account_id, delivery_id),
        label="Test email",
    )


def shown(delivery_id: int, **here: Any) -> dict[str, Any] | None:
    """What the page shows of a test send; None when it is no test send of this account."""
    try:
        data = service.snapshot(delivery_id)
    except db.NotFound:
        return None
    if data is None:
        return None
    urls = {"stream_url": url_for("testsend.stream", delivery_id=delivery_id, **here), "label": "Test email"}
    return steps.arguments(service.task_of(delivery_id), data) | urls


@blueprint.app_template_global("asked_test_send")
def asked_test_send(campaign_id: uuid.UUID, notification_id: uuid.UUID) -> dict[str, Any] | None:
    """The test send that the page's address names, so that a reload shows it again."""
    asked = request.args.get("test", type=int)
    if asked is None or not current_user.is_authenticated:
        return None
    return shown(asked, campaign_id=campaign_id, notification_id=notification_id)


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
