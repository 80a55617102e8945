"""Being built."""

from __future__ import annotations

from panel.web import access

blueprint = access.blueprint("addresses", __name__)


@blueprint.get("/settings/email")
def index() -> str:
    """Being built."""
    return ""
