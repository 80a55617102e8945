"""What machines ask: is it alive, is it ready, how much does it do."""

from __future__ import annotations

from dataclasses import asdict

from flask import Response, abort, current_app, jsonify, request
from prometheus_client import CONTENT_TYPE_LATEST

from panel.stats import vitals
from panel.web import access, thismachine

blueprint = access.blueprint("health", __name__)


@blueprint.after_app_request
def _count(answer: Response) -> Response:
    vitals.count_request(request.method, answer.status_code)
    return answer


@blueprint.get("/healthz")
@access.public
def alive() -> Response:
    """This process answers."""
    return Response("ok", mimetype="text/plain")


@blueprint.get("/readyz")
@access.public
def ready() -> tuple[Response, int]:
    """Everything that it needs answers too."""
    found = vitals.look(current_app.extensions["ownpost"])
    return jsonify(asdict(found)), 200 if found.well else 503


@blueprint.get("/metrics")
@access.public
def metrics() -> Response:
    """Figures for Prometheus, to this machine only: they tell how much mail others send."""
    if not thismachine.is_asking():
        abort(404)
    return Response(vitals.exposition(), content_type=CONTENT_TYPE_LATEST)
