"""Home."""

from __future__ import annotations

from flask import render_template

from panel.stats import chart, service
from panel.web import access

blueprint = access.blueprint("stats", __name__)


@blueprint.get("/")
def home() -> str:
    """What needs a person, then how it goes."""
    days = service.days()
    return render_template(
        "stats/home.html",
        needs=service.needs(),
        start=service.start(),
        days=days,
        bars=chart.bars(days),
        tallest=chart.tallest(days),
        width=chart.WIDTH,
        height=chart.HEIGHT,
        campaigns=service.by_campaign(),
    )
