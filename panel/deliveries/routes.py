"""The log of deliveries, and one delivery's page."""

from __future__ import annotations

import uuid

from flask import Response, abort, flash, redirect, render_template, request, url_for
from flask_login import current_user
from werkzeug.wrappers import Response as BaseResponse

from panel.deliveries import bulk, log, reasons, service
from panel.deliveries.wanted import Filter
from panel.web import access, frames, steps

blueprint = access.blueprint("deliveries", __name__)

_LARGEST = 2**63 - 1  # a bigint


@blueprint.get("/deliveries")
def index() -> str:
    """Newest first, by state, kind, campaign, address and time."""
    wanted = Filter.read(request.args)
    return render_template(
        "deliveries/index.html",
        page=log.page(wanted, before=_place("before"), after=_place("after")),
        wanted=wanted,
        kinds=log.KINDS_IN_WORDS,
        query=wanted.as_query(),
        offers=bulk.offers(wanted) if current_user.is_owner else (),
    )


def _place(name: str) -> int | None:
    """The delivery's number where a page of the list begins; None for what cannot be one."""
    number = request.args.get(name, type=int)
    return number if number is not None and 0 <= number <= _LARGEST else None


@blueprint.get("/deliveries/many")
@access.owner
def many() -> str:
    """Says what would be done to all of a filter, and asks."""
    return _ask(_what(request.args.get("what")), Filter.read(request.args))


def _what(given: str | None) -> str:
    if given not in bulk.WHAT:
        abort(404)
    return given


def _ask(what: str, wanted: Filter) -> str:
    return render_template(
        "deliveries/many.html",
        plan=bulk.plan(what, wanted),
        query=wanted.as_query(),
        filtered=log.in_words(wanted),
        action_id=uuid.uuid4(),
    )


@blueprint.post("/deliveries/many")
@access.owner
def do_many() -> BaseResponse | tuple[str, int]:
    """Does it, once for each page that asked."""
    form, wanted = request.form, Filter.read(request.form)
    what, action_id = _what(form.get("what")), form.get("action", type=uuid.UUID)
    seen, last = form.get("seen", type=int), form.get("last", type=int)
    if action_id is None or seen is None or last is None or not wanted.as_query() or not 0 <= last <= _LARGEST:
        abort(400, "This form is not complete. Go back to the log and choose again.")
    try:
        ip = request.remote_addr or ""
        bulk.start(action_id, what, wanted, seen=seen, last=last, user_id=current_user.id, ip=ip)
    except bulk.Grown:
        flash("There are more of them by now. Look again at what would be done.", "warning")
        return _ask(what, wanted), 409
    return redirect(url_for(".progress", action_id=action_id), 303)


@blueprint.get("/deliveries/many/<uuid:action_id>")
@access.owner
def progress(action_id: uuid.UUID) -> str:
    """How far it is; htmx asks for the inner part alone."""
    action = bulk.get(action_id)
    page = "deliveries/_progress.html" if "HX-Request" in request.headers else "deliveries/progress.html"
    return render_template(page, action=action, query=action.wanted, filtered=log.in_words(Filter.read(action.wanted)))


@blueprint.get("/deliveries/<int(max=9223372036854775807):delivery_id>")
def show(delivery_id: int) -> str:
    """One delivery: every attempt, and the letter as sent."""
    return render_template(
        "deliveries/show.html", story=log.story(delivery_id), resendable=service.RESENDABLE, labels=steps.LABELS
    )


@blueprint.get("/deliveries/<int(max=9223372036854775807):delivery_id>/html")
def html(delivery_id: int) -> Response:
    """The HTML part, for the frame."""
    return frames.letter(log.html(delivery_id))


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
    except service.ValuesGone:
        flash("It cannot be sent again: what it was made of is not kept any longer.", "error")
        return redirect(url_for(".show", delivery_id=delivery_id), 303)
    except service.Suppressed as error:
        flash(f"It was not sent again. {reasons.words(f'suppressed_{error}')}", "error")
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
