"""Being built."""

from __future__ import annotations

from panel.web import access

blueprint = access.blueprint("testsend", __name__)
