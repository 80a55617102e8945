"""Importing participants: a file is chosen, what it would do is shown, then it is done."""

from __future__ import annotations

import uuid
from typing import Final

from flask import Response, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from panel import db
from panel.campaigns import service as campaigns
from panel.participants import importing
from panel.participants.blueprint import blueprint
from panel.participants.forms import FileForm, ImportForm
from panel.participants.reading import MOST_OCTETS, MOST_PEOPLE, SAMPLE, Unreadable
from panel.web import access, limits, uploads

_TOO_LARGE = (
    f"The file is larger than {MOST_OCTETS // 1_000_000} MB, the most that is taken at once ({MOST_PEOPLE:,} people). "
    "Nothing of it was read. Go back, split it or leave out columns that are not imported, and import the parts one "
    "after the other."
)
_OFTEN: Final = "These files were looked at very often in a short time. Come back in {wait}."
_BROKEN_OFF: Final = (
    "The file was thrown away while it was imported, as happens when somebody of the campaign is deleted. Whom it had "
    "dealt with by then stays: the audit log says how many. Choose the file again to import the rest."
)
_GONE: Final = (
    "That file is not kept any more: its hour is over, or it was thrown away. Whom an import had dealt with by then "
    "stays: the audit log says how many. Choose the file again to import the others."
)


@blueprint.get("/campaigns/<uuid:campaign_id>/participants/import")
@access.owner
def choose(campaign_id: uuid.UUID) -> Response:
    """Asks for the file."""
    return _choose(campaign_id, FileForm(formdata=None), 200)


@blueprint.post("/campaigns/<uuid:campaign_id>/participants/import")
@access.owner
@uploads.takes(MOST_OCTETS, _TOO_LARGE)
def upload(campaign_id: uuid.UUID) -> Response | BaseResponse:
    """Reads it. Nobody is added yet."""
    campaigns.get(campaign_id)
    form = FileForm()
    if not form.validate():
        return _choose(campaign_id, form, 422)
    wait = limits.hit_files(db.account_id())
    if wait is not None:
        form.file.errors = [f"That were many files. Choose it again in {limits.in_words(wait)}."]
        return _choose(campaign_id, form, 429)
    try:
        taken = importing.take(campaign_id, form.file.data.stream, form.file.data.filename)
    except Unreadable as problem:
        form.file.errors = [str(problem)]
        return _choose(campaign_id, form, 422)
    return redirect(url_for("participants.look", campaign_id=campaign_id, import_id=taken), 303)


@blueprint.get("/campaigns/<uuid:campaign_id>/participants/import/sample.csv")
@access.owner
def sample(campaign_id: uuid.UUID) -> Response:
    """A file to begin with."""
    campaigns.get(campaign_id)
    return _csv(SAMPLE.encode(), "participants-sample")


@blueprint.get("/campaigns/<uuid:campaign_id>/participants/import/<uuid:import_id>")
@access.owner
def look(campaign_id: uuid.UUID, import_id: uuid.UUID) -> Response:
    """What it would do, or what came of it."""
    return _look(campaign_id, import_id, ImportForm(formdata=None), 200)


@blueprint.post("/campaigns/<uuid:campaign_id>/participants/import/<uuid:import_id>")
@access.owner
def carry_out(campaign_id: uuid.UUID, import_id: uuid.UUID) -> Response | BaseResponse:
    """Does it."""
    form = ImportForm()
    if not form.validate():
        return _look(campaign_id, import_id, form, 422)
    waiting = importing.get(campaign_id, import_id)
    if waiting.ended_at is None:
        limits.require(limits.hit_looks, _OFTEN)
    waiting = importing.get_whole(campaign_id, import_id)
    try:
        importing.carry_out(waiting, overwrite=form.existing.data == "update")
    except importing.Gone:
        flash(_BROKEN_OFF, "error")
        return redirect(url_for("participants.choose", campaign_id=campaign_id), 303)
    return redirect(url_for("participants.look", campaign_id=campaign_id, import_id=import_id), 303)


@blueprint.post("/campaigns/<uuid:campaign_id>/participants/import/<uuid:import_id>/discard")
@access.owner
def discard(campaign_id: uuid.UUID, import_id: uuid.UUID) -> BaseResponse:
    """Throws the file away."""
    waiting = importing.get(campaign_id, import_id)
    words = "Nobody was added." if waiting.left == waiting.found else "Whom it had dealt with stays."
    importing.discard(waiting)
    flash(f"The file is thrown away. {words}", "info")
    return redirect(url_for("participants.index", campaign_id=campaign_id), 303)


@blueprint.get("/campaigns/<uuid:campaign_id>/participants/import/<uuid:import_id>/lines.csv")
@access.owner
def bad_lines(campaign_id: uuid.UUID, import_id: uuid.UUID) -> Response:
    """The lines that cannot be used, to be mended and imported by themselves."""
    importing.get(campaign_id, import_id)
    limits.require(limits.hit_looks, _OFTEN)
    return _csv(importing.bad_lines(importing.get_whole(campaign_id, import_id)), "lines-to-mend")


@blueprint.errorhandler(importing.Gone)
def _gone(_error: importing.Gone) -> Response:
    """Says why, and asks for the file again."""
    flash(_GONE, "error")
    return _choose((request.view_args or {})["campaign_id"], FileForm(formdata=None), 404)


def _csv(content: bytes, name: str) -> Response:
    answer = Response(content, mimetype="text/csv")
    answer.headers["Content-Disposition"] = f'attachment; filename="{name}.csv"'
    return answer


def _choose(campaign_id: uuid.UUID, form: FileForm, status: int) -> Response:
    words = {"megabytes": MOST_OCTETS // 1_000_000, "people": MOST_PEOPLE}
    page = render_template("participants/import.html", campaign=campaigns.get(campaign_id), form=form, most=words)
    return Response(page, status)


def _look(campaign_id: uuid.UUID, import_id: uuid.UUID, form: ImportForm, status: int) -> Response:
    found = importing.get(campaign_id, import_id)
    if found.ended_at is None:
        limits.require(limits.hit_looks, _OFTEN)
        found = importing.get_whole(campaign_id, import_id)
    given = {"campaign": campaigns.get(campaign_id), "file": found, "form": form}
    if found.ended_at is not None:
        return Response(render_template("participants/imported.html", **given), status)
    return Response(render_template("participants/import_look.html", **given, look=importing.look(found)), status)
