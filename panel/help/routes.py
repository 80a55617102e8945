"""The guides, and the ways to reach support."""

from __future__ import annotations

from flask import render_template

from panel.web import access

blueprint = access.blueprint("help", __name__)


@blueprint.get("/help")
@access.public
def index() -> str:
    """Ways to support, and what each failure means."""
    return render_template("help/index.html")


@blueprint.get("/help/gmail")
@access.public
def gmail() -> str:
    """How to use Gmail or Google Workspace."""
    return render_template("help/gmail.html")


@blueprint.get("/help/outlook")
@access.public
def outlook() -> str:
    """How to use Microsoft 365 or Outlook.com."""
    return render_template("help/outlook.html")
