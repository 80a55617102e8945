"""Being built."""

from __future__ import annotations

from panel.web import access

blueprint = access.blueprint("deliveries", __name__)


@blueprint.get("/deliveries")
def index() -> str:
    """Being built."""
    return ""
