"""Being built."""

from __future__ import annotations

from panel.web import access

blueprint = access.blueprint("events", __name__)
