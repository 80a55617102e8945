"""The pages on which a blast is written."""

from __future__ import annotations

import uuid

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask_login import current_user
from werkzeug.wrappers import Response as BaseResponse

from panel import db, previews
from panel.blasts import pages, service
from panel.blasts.forms import BlastForm
from panel.blasts.service import Blast
from panel.campaigns import service as campaigns
from panel.message import drafting
from panel.message.template import TemplateProblems
from panel.web import frames

BASE = "/campaigns/<uuid:campaign_id>/blasts/<uuid:blast_id>"

Answer = str | BaseResponse | tuple[str, int]


def add_to(blueprint: Blueprint) -> None:
    """Registers the editor's routes."""
    blueprint.add_url_rule(BASE, view_func=show)
    blueprint.add_url_rule(BASE, endpoint="save", view_func=save, methods=["POST"])
    blueprint.add_url_rule(f"{BASE}/preview", view_func=preview, methods=["POST"])
    blueprint.add_url_rule(f"{BASE}/preview/<token>", view_func=preview_letter)
    blueprint.add_url_rule(f"{BASE}/letter", view_func=letter)
    blueprint.add_url_rule(f"{BASE}/text", view_func=make_text, methods=["POST"])


def show(campaign_id: uuid.UUID, blast_id: uuid.UUID) -> Answer:
    """A draft's editor; of any other blast, how far it is."""
    blast = service.get(blast_id, campaign_id=campaign_id)
    if blast.state != "draft":
        return render_template("blasts/show.html", **pages.run(blast))
    form = BlastForm(formdata=None)
    form.fill(service.words_of(blast))
    form.fill_audience(service.audience_of(blast))
    return render_template(
        "blasts/edit.html", form=form, **pages.editor(blast, form.audience(), pages.saved(blast), None)
    )


def save(campaign_id: uuid.UUID, blast_id: uuid.UUID) -> Answer:
    """Saves a draft, and goes on to sending it if that was pressed."""
    blast = service.get(blast_id, campaign_id=campaign_id)
    form = BlastForm()
    if not form.validate():
        return _editor(blast, form), 422
    try:
        service.save(blast.id, form.words(), form.audience(), made_by=current_user.id)
    except TemplateProblems as error:
        form.add_problems(error.problems)
        return _editor(blast, form), 422
    except service.NotNow as error:
        flash(str(error), "error")
        return redirect(url_for("blasts.show", campaign_id=campaign_id, blast_id=blast_id), 303)
    if "go_on" in request.form:
        return redirect(url_for("blasts.send", campaign_id=campaign_id, blast_id=blast_id), 303)
    flash("Saved. Nothing has been sent.", "success")
    return redirect(url_for("blasts.show", campaign_id=campaign_id, blast_id=blast_id), 303)


def preview(campaign_id: uuid.UUID, blast_id: uuid.UUID) -> Answer:
    """How the words in the form would look: for htmx beside the editor, else as the frame's whole content."""
    blast = service.get(blast_id, campaign_id=campaign_id)
    form = BlastForm()
    shown = pages.preview(blast, form.words(), form.audience())
    if request.headers.get("HX-Request"):
        # While the words cannot be rendered, the letter that is in the frame stays there.
        token = previews.keep(shown.letter.html) if shown.letter else request.form.get("shown")
        return render_template("campaigns/_preview.html", **pages.preview_context(blast, shown, token))
    if shown.letter is None:
        return frames.note("It cannot be sent like this:", shown.problems, 422)
    return frames.letter(shown.letter.html)


def preview_letter(campaign_id: uuid.UUID, blast_id: uuid.UUID, token: str) -> Answer:
    """The letter of a preview, for its frame."""
    service.get(blast_id, campaign_id=campaign_id)
    html = previews.kept(token)
    if html is None:
        return frames.note("This preview has been forgotten. Change something in the words to make it again.", [], 404)
    return frames.letter(html)


def letter(campaign_id: uuid.UUID, blast_id: uuid.UUID) -> Answer:
    """What is saved, as a letter, for a frame."""
    blast = service.get(blast_id, campaign_id=campaign_id)
    return frames.letter(service.rendered(campaigns.get(campaign_id), campaigns.compiled(blast.version_id)).html)


def make_text(campaign_id: uuid.UUID, blast_id: uuid.UUID) -> Answer:
    """Replaces the text part in the form by one made from its HTML, saving nothing."""
    blast = service.get(blast_id, campaign_id=campaign_id)
    form = BlastForm()
    status = 200
    try:
        form.text.data = drafting.made_text(form.words(), allowed=form.audience().tags)
    except TemplateProblems as error:
        form.add_problems(error.problems)
        status = 422
    if request.headers.get("HX-Request"):
        menu = pages.tag_menu(form.audience())
        return render_template("campaigns/_fields.html", form=form, tag_menu=menu), status
    return _editor(blast, form), status


def _editor(blast: Blast, form: BlastForm) -> str:
    db.session().expire(blast)
    shown = pages.preview(blast, form.words(), form.audience())
    token = previews.keep(shown.letter.html) if shown.letter else None
    return render_template("blasts/edit.html", form=form, **pages.editor(blast, form.audience(), shown, token))
