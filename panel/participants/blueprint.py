"""What the pages of participants share."""

from __future__ import annotations

from panel.web import access

blueprint = access.blueprint("participants", __name__)
