"""What the pages of Settings share."""

from __future__ import annotations

from flask import request
from flask_login import current_user

from panel.addresses.service import By
from panel.web import access

blueprint = access.blueprint("settings", __name__)


def by() -> By:
    """Who is doing something, for the audit log."""
    return By(user_id=current_user.id, ip=request.remote_addr or "")
