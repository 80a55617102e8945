"""The blasts of a campaign: the list, sending one, and how far it is. Those of the editor are in `editing`."""

from __future__ import annotations

import threading
import uuid
from typing import Any

from flask import Flask, Response, copy_current_request_context, current_app, flash, redirect, render_template, url_for
from flask_login import current_user
from flask_wtf.csrf import generate_csrf
from werkzeug.wrappers import Response as BaseResponse

from panel import db, live
from panel.accounts import service as accounts
from panel.blasts import editing, pages, progress, service
from panel.blasts.editing import BASE
from panel.blasts.forms import SendForm
from panel.blasts.service import Blast
from panel.campaigns import service as campaigns
from panel.web import access, sse

blueprint = access.blueprint("blasts", __name__)
editing.add_to(blueprint)

Answer = str | BaseResponse | tuple[str, int]


@blueprint.get("/campaigns/<uuid:campaign_id>/blasts")
def index(campaign_id: uuid.UUID) -> str:
    """Every blast of a campaign, newest first."""
    campaign = campaigns.get(campaign_id)
    return render_template("blasts/index.html", campaign=campaign, listed=service.of_campaign(campaign_id))


@blueprint.post("/campaigns/<uuid:campaign_id>/blasts")
def create(campaign_id: uuid.UUID) -> BaseResponse:
    """Begins a draft."""
    campaign = campaigns.get(campaign_id)
    return _to(service.create(campaign.id, made_by=current_user.id))


@blueprint.get(f"{BASE}/send")
def send(campaign_id: uuid.UUID, blast_id: uuid.UUID) -> Answer:
    """Asks for the word to send: to how many, who is left out, when it will be done."""
    blast = service.get(blast_id, campaign_id=campaign_id)
    if blast.state not in ("draft", "asking"):
        return _to(blast)
    form = SendForm(formdata=None, version=str(blast.version_id))
    return render_template("blasts/send.html", form=form, **pages.before_sending(blast))


@blueprint.post(f"{BASE}/send")
def begin(campaign_id: uuid.UUID, blast_id: uuid.UUID) -> Answer:
    """Sends it, now or at a set time. Pressed twice, it does so once."""
    blast = service.get(blast_id, campaign_id=campaign_id)
    form = SendForm()
    at = form.time(accounts.zone())
    if form.at.errors:
        return render_template("blasts/send.html", form=form, **pages.before_sending(blast)), 422
    try:
        _begin(blast, at, uuid.UUID(form.version.data or ""))
    except ValueError as error:
        flash(str(error) if isinstance(error, service.NotNow) else "Look at it again before you send it.", "error")
        return redirect(url_for(".send", **pages.here(blast)), 303)
    return _to(blast)


def _begin(blast: Blast, at: Any, version_id: uuid.UUID) -> None:
    if at is None:
        if service.send(blast.id, version_id=version_id, user_id=current_user.id):
            flash("It is on its way.", "success")
            return
    elif service.schedule(blast.id, at, version_id=version_id, user_id=current_user.id):
        flash("It goes out at the set time. Until then you can take it back.", "success")
        return
    flash("Nothing was changed: it has been sent, scheduled or canceled meanwhile.", "error")


@blueprint.post(f"{BASE}/take-back")
def take_back(campaign_id: uuid.UUID, blast_id: uuid.UUID) -> BaseResponse:
    """Makes a draft again of a blast that has not started."""
    blast = service.get(blast_id, campaign_id=campaign_id)
    if not service.to_draft(blast.id):
        flash("It has started meanwhile, so it cannot be changed any more.", "error")
    return _to(blast)


@blueprint.post(f"{BASE}/pause")
def pause(campaign_id: uuid.UUID, blast_id: uuid.UUID) -> BaseResponse:
    """Stops it for now."""
    blast = service.get(blast_id, campaign_id=campaign_id)
    if not service.pause(blast.id, user_id=current_user.id):
        flash("It was not running any more.", "error")
    return _to(blast)


@blueprint.post(f"{BASE}/resume")
def resume(campaign_id: uuid.UUID, blast_id: uuid.UUID) -> BaseResponse:
    """Goes on."""
    blast = service.get(blast_id, campaign_id=campaign_id)
    if not service.resume(blast.id, user_id=current_user.id):
        flash("It was not paused any more.", "error")
    return _to(blast)


@blueprint.post(f"{BASE}/cancel")
def cancel(campaign_id: uuid.UUID, blast_id: uuid.UUID) -> BaseResponse:
    """Ends it."""
    blast = service.get(blast_id, campaign_id=campaign_id)
    if not service.cancel(blast.id, user_id=current_user.id):
        flash("It had ended already.", "error")
    return _to(blast)


@blueprint.post(f"{BASE}/duplicate")
def duplicate(campaign_id: uuid.UUID, blast_id: uuid.UUID) -> BaseResponse:
    """Begins a draft that says the same."""
    blast = service.get(blast_id, campaign_id=campaign_id)
    flash("This is a draft of its own, with the same words and audience.", "success")
    return _to(service.duplicate(blast.id, made_by=current_user.id))


@blueprint.post(f"{BASE}/remove")
def remove(campaign_id: uuid.UUID, blast_id: uuid.UUID) -> BaseResponse:
    """Throws a draft away."""
    blast = service.get(blast_id, campaign_id=campaign_id)
    try:
        service.remove(blast.id)
    except service.NotNow as error:
        flash(str(error), "error")
        return _to(blast)
    flash("The draft is gone.", "success")
    return redirect(url_for(".index", campaign_id=campaign_id), 303)


@blueprint.get(f"{BASE}/stream")
def stream(campaign_id: uuid.UUID, blast_id: uuid.UUID) -> Response:
    """How far it is, as it goes."""
    blast = service.get(blast_id, campaign_id=campaign_id)
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]
    account_id, closed = db.account_id(), threading.Event()
    answer = sse.stream(account_id, progress.task_of(blast.id), _renderer(blast))
    answer.call_on_close(closed.set)
    if answer.status_code == 200:
        arguments = (app, account_id, blast.id, closed)
        threading.Thread(target=progress.watch, args=arguments, name="blast-watch", daemon=True).start()
    return answer


def _renderer(blast: Blast) -> Any:
    # Not `render_template`, whose context processors would ask the database who is signed in, for every snapshot.
    fragment = current_app.jinja_env.get_template("blasts/_progress.html")
    token = generate_csrf()

    # The request is over when the first snapshot comes; its copy is what addresses in the fragment are made with.
    @copy_current_request_context
    def render(snapshot: live.Snapshot) -> str:
        return fragment.render(csrf=token, **pages.shown_progress(blast, progress.read(snapshot.data)))

    return render


def _to(blast: Blast) -> BaseResponse:
    return redirect(url_for("blasts.show", **pages.here(blast)), 303)
