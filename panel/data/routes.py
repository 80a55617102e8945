"""Settings, Data: what is kept, handed out and deleted; and a participant's own page, where they can be deleted."""

from __future__ import annotations

import threading
import uuid

from flask import Response, abort, current_app, flash, redirect, render_template, url_for
from flask_login import current_user
from werkzeug.exceptions import ServiceUnavailable
from werkzeug.wrappers import Response as BaseResponse

from panel import db
from panel.accounts import service as accounts
from panel.campaigns import service as campaigns
from panel.data import service
from panel.data.forms import CloseForm, KeepForm
from panel.participants import service as participants
from panel.web import access

blueprint = access.blueprint("data", __name__)

Answer = str | BaseResponse | tuple[str, int]

# An export occupies a thread for as long as it takes; pages must have the rest.
_exports = threading.BoundedSemaphore(2)


@blueprint.get("/settings/data")
@access.owner
def index() -> str:
    """What is kept, and the ways out."""
    return _page()


@blueprint.post("/settings/data")
@access.owner
@access.sensitive
def keep_values() -> Answer:
    """Says for how long what letters were made of is kept."""
    form = _keep_form()
    if not form.validate():
        return _page(keep=form), 422
    accounts.keep_values(form.days.data)
    flash("Saved. What is older is removed within the hour.", "success")
    return redirect(url_for(".index"), 303)


@blueprint.post("/settings/account/export")
@access.owner
@access.sensitive
def export() -> Response:
    """Everything of the account, as a ZIP that is made while it is sent."""
    if not _exports.acquire(blocking=False):
        raise ServiceUnavailable("Other exports are under way. Try again in a minute.", retry_after=60)
    try:
        pieces = service.export()
    except BaseException:
        _exports.release()  # there is no answer whose end would
        raise
    answer = Response(pieces, mimetype="application/zip")
    answer.call_on_close(_exports.release)
    answer.headers["Content-Disposition"] = f'attachment; filename="ownpost-{db.now():%Y-%m-%d}.zip"'
    answer.headers["X-Accel-Buffering"] = "no"
    return answer


@blueprint.post("/settings/account/delete")
@access.owner
@access.sensitive
def close() -> Answer:
    """Closes the account: it sends nothing more, and is deleted after some days."""
    form = CloseForm()
    if not form.validate():
        return _page(closing=form), 422
    service.close()
    flash("The account is closed and sends nothing more. Its owners have been told.", "success")
    return redirect(url_for(".index"), 303)


@blueprint.post("/settings/account/keep")
@access.owner
def keep() -> BaseResponse:
    """Takes that back."""
    if service.keep():
        flash("The account stays. What waits goes out again.", "success")
    else:
        flash("It is too late to keep the account: its deletion has begun.", "error")
    return redirect(url_for(".index"), 303)


@blueprint.get("/campaigns/<uuid:campaign_id>/participants/<uuid:participant_id>")
def participant(campaign_id: uuid.UUID, participant_id: uuid.UUID) -> str:
    """One person of a campaign."""
    return render_template(
        "data/participant.html",
        campaign=campaigns.get(campaign_id),
        person=_person(campaign_id, participant_id),
        suppressed=service.is_person_suppressed(participant_id),
        link=participants.referral_link,
    )


@blueprint.post("/campaigns/<uuid:campaign_id>/participants/<uuid:participant_id>/delete")
@access.owner
@access.sensitive
def delete_participant(campaign_id: uuid.UUID, participant_id: uuid.UUID) -> BaseResponse:
    """Deletes a person with what is known of them."""
    person = _person(campaign_id, participant_id)
    try:
        canceled = service.delete_person(person.id)
    except service.OnItsWay:
        flash("A letter to them is leaving at this moment. Try again in a minute.", "error")
        return redirect(url_for(".participant", campaign_id=campaign_id, participant_id=participant_id), 303)
    letters = {0: "", 1: " One letter that waited was canceled."}.get(canceled, f" {canceled:,} letters were canceled.")
    flash(f"Deleted.{letters}", "success")
    return redirect(url_for("participants.index", campaign_id=campaign_id), 303)


def _person(campaign_id: uuid.UUID, participant_id: uuid.UUID) -> participants.Participant:
    person = participants.get(participant_id)
    if person.campaign_id != campaign_id:
        abort(404)
    return person


def _keep_form() -> KeepForm:
    form = KeepForm(days=accounts.current().keep_values_days)
    form.bound(current_app.extensions["ownpost"].keep_values_days)
    return form


def _page(keep: KeepForm | None = None, closing: CloseForm | None = None) -> str:
    return render_template(
        "data/index.html",
        keep=keep or _keep_form(),
        closing=closing or CloseForm(formdata=None),
        account=accounts.current(),
        operator_days=current_app.extensions["ownpost"].keep_values_days,
        days=service.days_kept(),
        grace=service.GRACE.days,
        user=current_user,
    )
