"""Being built."""

from __future__ import annotations

from panel.web import access

blueprint = access.blueprint("campaigns", __name__)


@blueprint.get("/campaigns")
def index() -> str:
    """Being built."""
    return ""
