"""The list of a campaign's participants; brought in here, importing them."""

from __future__ import annotations

import uuid

from flask import flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from panel.campaigns import service as campaigns
from panel.participants import importpages
from panel.participants import service as participants
from panel.participants.blueprint import blueprint
from panel.participants.forms import ParticipantForm
from panel.web import access

__all__ = ["blueprint", "importpages"]

Answer = str | Response | tuple[str, int]


@blueprint.get("/campaigns/<uuid:campaign_id>/participants")
def index(campaign_id: uuid.UUID) -> str:
    """The participants, newest first, or those that a search finds."""
    return _page(campaign_id, ParticipantForm(formdata=None))


@blueprint.post("/campaigns/<uuid:campaign_id>/participants")
@access.owner
def add(campaign_id: uuid.UUID) -> Answer:
    """Adds a referrer by hand. Nobody is mailed."""
    campaigns.get(campaign_id)
    form = ParticipantForm()
    if not form.validate():
        return _page(campaign_id, form), 422
    person, is_new = participants.add_by_hand(
        campaign_id, form.email.data, form.first_name.data or "", form.last_name.data or ""
    )
    flash(f"{person.email} {'is a referrer now' if is_new else 'was a referrer already'}.", "success")
    return redirect(url_for("participants.index", campaign_id=campaign_id), 303)


def _page(campaign_id: uuid.UUID, form: ParticipantForm) -> str:
    campaign = campaigns.get(campaign_id)
    search = request.args.get("q", "").strip()[:100]
    page = participants.page(
        campaign_id,
        search=search,
        older_than=request.args.get("older_than", type=uuid.UUID),
        newer_than=request.args.get("newer_than", type=uuid.UUID),
    )
    return render_template(
        "participants/index.html",
        campaign=campaign,
        form=form,
        search=search,
        page=page,
        total=participants.count(campaign_id),
        link=participants.referral_link,
    )
