"""The list of suppressed addresses; and the pages behind the links in letters, for people who are not signed in."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from flask import Response, abort, flash, make_response, redirect, render_template, request, url_for
from flask.blueprints import BlueprintSetupState
from flask_login import current_user
from werkzeug.wrappers import Response as BaseResponse

from panel import db
from panel.campaigns import service as campaigns
from panel.participants import service as participants
from panel.suppressions import choices, service
from panel.suppressions.forms import AddForm, PreferencesForm
from panel.web import access

blueprint = access.blueprint("suppressions", __name__)

Answer = str | BaseResponse | tuple[str, int]


@blueprint.record_once
def _no_csrf_token(state: BlueprintSetupState) -> None:
    # A mail program that unsubscribes by one click (RFC 8058) has no cookie. The link's signature is what authorises.
    state.app.extensions["csrf"].exempt(unsubscribe)


@blueprint.get("/suppressions")
def index() -> str:
    """The list."""
    known = campaigns.campaigns()
    return _list(_add_form(known), known)


@blueprint.post("/suppressions")
@access.owner
def add() -> Answer:
    """Adds an address by hand."""
    known = campaigns.campaigns()
    form = _add_form(known)
    if not form.validate():
        return _list(form, known), 422
    row, new = service.add_by_hand(form.address.data, form.campaign_id, user_id=current_user.id, ip=_ip())
    flash(f"{row.address} gets no more email." if new else f"{row.address} was suppressed already.", "success")
    return redirect(url_for("suppressions.index"), 303)


@blueprint.post("/suppressions/<uuid:suppression_id>/remove")
@access.owner
def remove(suppression_id: uuid.UUID) -> Answer:
    """Lets an address be mailed again."""
    row = service.remove(suppression_id, user_id=current_user.id, ip=_ip())
    flash(f"{row.address} may be mailed again.", "success")
    return redirect(url_for("suppressions.index"), 303)


def _add_form(known: Sequence[campaigns.Campaign]) -> AddForm:
    form = AddForm(formdata=request.form if request.method == "POST" else None)
    form.offer(known)
    return form


def _list(form: AddForm, known: Sequence[campaigns.Campaign]) -> str:
    search = request.args.get("q", "")
    return render_template(
        "suppressions/index.html",
        form=form,
        search=search,
        first=not request.args.get("before"),
        page=service.page(search=search, before=request.args.get("before")),
        campaigns={each.id: each.name for each in known},
    )


def _ip() -> str:
    return request.remote_addr or ""


@blueprint.get("/u/<token>")
@access.public
def ask(token: str) -> str:
    """Asks before anything is done: mail scanners follow every link in a letter."""
    person = _person(token)
    with db.account_scope(person.account_id):
        return render_template("suppressions/unsubscribe.html", token=token, reader=choices.reader(person.id))


@blueprint.post("/u/<token>")
@access.public
def unsubscribe(token: str) -> Answer:
    """Stops the campaign's mail, or takes that back. A mail program's one click gets no redirect (RFC 8058 §3.1)."""
    person = _person(token)
    one_click = request.form.get("List-Unsubscribe") == "One-Click"
    with db.account_scope(person.account_id):
        if "resubscribe" in request.form and not one_click:
            choices.choose(person.id, "campaign", by="the link in a letter")
        else:
            choices.unsubscribe(person.id, by="one click in the mail program" if one_click else "the link in a letter")
    if one_click:
        return Response("Unsubscribed.", mimetype="text/plain")
    return redirect(url_for("suppressions.ask", token=token), 303)


@blueprint.route("/p/<token>", methods=["GET", "POST"])
@access.public
def preferences(token: str) -> Answer:
    """What the participant wants to receive."""
    person = _person(token)
    with db.account_scope(person.account_id):
        reader = choices.reader(person.id)
        form = PreferencesForm(choice=reader.choice)
        form.word_for(reader)
        if not form.is_submitted():
            return render_template("suppressions/preferences.html", token=token, reader=reader, form=form)
        if not form.validate():
            return render_template("suppressions/preferences.html", token=token, reader=reader, form=form), 422
        choices.choose(person.id, form.choice.data, by="the preferences page")
    flash("Saved. This holds from the next letter on.", "success")
    return redirect(url_for("suppressions.preferences", token=token), 303)


def _person(token: str) -> participants.Participant:
    person = participants.find_by_token(token)
    if person is None:
        # Whoever reads a letter has no account, and nothing to look for in the panel.
        abort(make_response(render_template("suppressions/bad_link.html"), 404))
    return person
