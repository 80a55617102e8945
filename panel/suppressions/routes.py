"""Being built."""

from __future__ import annotations

from panel.web import access

blueprint = access.blueprint("suppressions", __name__)
