"""The log of deliveries, and one delivery's page."""

from __future__ import annotations

import uuid
from typing import Any

from flask import Response, flash, redirect, render_template, request, url_for
from flask_login import current_user
from werkzeug.wrappers import Response as BaseResponse

from panel.campaigns import service as campaigns
from panel.deliveries import log, service
from panel.web import access, steps

blueprint = access.blueprint("deliveries", __name__)

# A letter's HTML is shown without scripts, forms or an origin of its own.
LETTER_CSP = "sandbox; default-src 'none'; img-src data: https:; style-src 'unsafe-inline'; frame-ancestors 'self'"

_LARGEST = 2**63 - 1  # a bigint


@blueprint.get("/deliveries")
def index() -> str:
    """Newest first, by state, kind, campaign and address."""
    wanted = _filter()
    page = log.page(wanted, before=_place("before"), after=_place("after"))
    return render_template(
        "deliveries/index.html", page=page, wanted=wanted, campaigns=campaigns.campaigns(), query=_query(wanted)
    )


def _place(name: str) -> int | None:
    """The delivery's number where a page of the list begins; None for what cannot be one."""
    number = request.args.get(name, type=int)
    return number if number is not None and 0 <= number <= _LARGEST else None


def _filter() -> log.Filter:
    arguments = request.args
    state, kind = arguments.get("state", ""), arguments.get("kind", "")
    return log.Filter(
        state=state if state in service.STATES else "",
        kind=kind if kind in service.KINDS else "",
        campaign_id=arguments.get("campaign", type=uuid.UUID),
        to=arguments.get("to", "")[:320],
    )


def _query(wanted: log.Filter) -> dict[str, Any]:
    given = {"state": wanted.state, "kind": wanted.kind, "campaign": wanted.campaign_id, "to": wanted.to}
    return {name: value for name, value in given.items() if value}


@blueprint.get("/deliveries/<int(max=9223372036854775807):delivery_id>")
def show(delivery_id: int) -> str:
    """One delivery: every attempt, and the letter as sent."""
    return render_template(
        "deliveries/show.html", story=log.story(delivery_id), resendable=service.RESENDABLE, labels=steps.LABELS
    )


@blueprint.get("/deliveries/<int(max=9223372036854775807):delivery_id>/html")
def html(delivery_id: int) -> Response:
    """The HTML part, for the frame."""
    answer = Response(log.html(delivery_id), mimetype="text/html")
    answer.headers["Content-Security-Policy"] = LETTER_CSP
    answer.headers["X-Frame-Options"] = "SAMEORIGIN"
    return answer


@blueprint.get("/deliveries/<int(max=9223372036854775807):delivery_id>/letter.eml")
def source(delivery_id: int) -> Response:
    """The letter as sent, to the byte."""
    answer = Response(log.letter(delivery_id).wire(eightbit=True), mimetype="message/rfc822")
    answer.headers["Content-Disposition"] = f'attachment; filename="delivery-{delivery_id}.eml"'
    return answer


@blueprint.post("/deliveries/<int(max=9223372036854775807):delivery_id>/resend")
@access.owner
def resend(delivery_id: int) -> BaseResponse:
    """Sends it again, as a new delivery."""
    try:
        new = service.resend(delivery_id, user_id=current_user.id)
    except service.WrongTransition:
        flash("It may still go out by itself, so it cannot be sent again now.", "error")
        return redirect(url_for(".show", delivery_id=delivery_id), 303)
    flash("It is on its way again.", "success")
    return redirect(url_for(".show", delivery_id=new.id), 303)


@blueprint.post("/deliveries/<int(max=9223372036854775807):delivery_id>/mark-as-sent")
@access.owner
def mark_as_sent(delivery_id: int) -> BaseResponse:
    """A person knows that it arrived."""
    try:
        service.mark_as_sent(delivery_id, user_id=current_user.id)
    except service.WrongTransition:
        flash("Only an uncertain delivery can be marked as sent.", "error")
    return redirect(url_for(".show", delivery_id=delivery_id), 303)
