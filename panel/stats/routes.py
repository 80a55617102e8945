"""Being built."""

from __future__ import annotations

from panel.web import access

blueprint = access.blueprint("stats", __name__)


@blueprint.get("/")
def home() -> str:
    """Being built."""
    return ""
