"""The pages of campaigns; those of the notification editor are in `editing`."""

from __future__ import annotations

import uuid

from flask import flash, redirect, render_template, request, url_for
from flask_login import current_user
from werkzeug.wrappers import Response

from panel.accounts import service as accounts
from panel.addresses import service as addresses
from panel.campaigns import editing, pages
from panel.campaigns import service as campaigns
from panel.campaigns.forms import CampaignForm
from panel.web import access

blueprint = access.blueprint("campaigns", __name__)
editing.add_to(blueprint)

Answer = str | Response | tuple[str, int]


@blueprint.get("/campaigns")
def index() -> str:
    """Every campaign."""
    return render_template("campaigns/index.html", campaigns=campaigns.campaigns())


def _offer_addresses(form: CampaignForm) -> None:
    if current_user.is_owner:
        form.offer(addresses.all_addresses())
    else:
        del form.address_id


@blueprint.route("/campaigns/new", methods=["GET", "POST"])
def new() -> Answer:
    """Adds a campaign."""
    form = CampaignForm(company_name=accounts.current().name)
    _offer_addresses(form)
    if not form.is_submitted():
        return render_template("campaigns/new.html", form=form)
    if not form.validate():
        return render_template("campaigns/new.html", form=form), 422
    campaign = campaigns.create(form.details(address_id=None))
    flash(f"“{campaign.name}” is there, with all its email notifications.", "success")
    return redirect(url_for("campaigns.notifications", campaign_id=campaign.id), 303)


@blueprint.route("/campaigns/<uuid:campaign_id>/edit", methods=["GET", "POST"])
def edit(campaign_id: uuid.UUID) -> Answer:
    """Shows and changes a campaign."""
    campaign = campaigns.get(campaign_id)
    form = CampaignForm.of(campaign)
    _offer_addresses(form)
    if not form.is_submitted():
        return _edit_page(campaign, form)
    if not form.validate():
        return _edit_page(campaign, form), 422
    campaigns.edit(campaign_id, form.details(address_id=campaign.address_id))
    flash("Saved.", "success")
    return redirect(url_for("campaigns.edit", campaign_id=campaign_id), 303)


def _edit_page(campaign: campaigns.Campaign, form: CampaignForm) -> str:
    link = campaigns.sample(campaign)["referrer.referral_link"]
    return render_template("campaigns/edit.html", campaign=campaign, form=form, sample_link=link)


@blueprint.get("/campaigns/<uuid:campaign_id>/notifications")
def notifications(campaign_id: uuid.UUID) -> str:
    """Every email notification of a campaign."""
    campaign = campaigns.get(campaign_id)
    groups = pages.groups(campaigns.overview(campaign_id))
    return render_template("campaigns/notifications.html", campaign=campaign, groups=groups)


@blueprint.post("/campaigns/<uuid:campaign_id>/notifications/<uuid:notification_id>/switch")
def switch(campaign_id: uuid.UUID, notification_id: uuid.UUID) -> Answer:
    """Switches a notification on or off, at once."""
    campaign = campaigns.get(campaign_id)
    notification = campaigns.get_notification(notification_id, campaign_id=campaign_id)
    campaigns.switch(notification.id, enabled=request.form.get("enabled") == "1")
    if request.headers.get("HX-Request"):
        listed = campaigns.listed(notification)
        return render_template("campaigns/_notification.html", campaign=campaign, listed=listed)
    kind = campaigns.KINDS[notification.kind]
    flash(f"“{kind.title}” is {'on' if notification.enabled else 'off'}.", "success")
    return redirect(url_for("campaigns.notifications", campaign_id=campaign_id), 303)
