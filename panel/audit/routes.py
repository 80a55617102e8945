"""Settings, Audit log."""

from __future__ import annotations

from flask import Response, render_template, request

from panel import db
from panel.audit import service
from panel.audit.service import Wanted
from panel.web import access

blueprint = access.blueprint("audit", __name__)


@blueprint.get("/settings/audit")
@access.owner
def index() -> str:
    """The log, newest first, or what a filter leaves of it."""
    wanted = Wanted.read(request.args)
    page = service.page(wanted, before=request.args.get("before", ""))
    return render_template(
        "audit/index.html",
        wanted=wanted,
        query=wanted.as_query(),
        lines=[service.shown(entry) for entry in page.entries],
        older=page.older,
        first=not request.args.get("before"),
        actors=service.actors(),
        actions=service.actions(),
    )


@blueprint.get("/settings/audit.csv")
@access.owner
def export() -> Response:
    """All that the filter leaves, for a spreadsheet."""
    answer = Response(service.export(Wanted.read(request.args)), mimetype="text/csv")
    answer.headers["Content-Disposition"] = f'attachment; filename="ownpost-audit-{db.now():%Y-%m-%d}.csv"'
    return answer
