"""How pages write times."""

from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

from flask import Flask, g
from flask_login import current_user
from markupsafe import Markup

from panel import db


def _zone() -> ZoneInfo:
    # Once for a request: a list writes a time in every row.
    if "zone" not in g:
        g.zone = ZoneInfo(current_user.account.time_zone) if current_user.is_authenticated else ZoneInfo("UTC")
    zone: ZoneInfo = g.zone
    return zone


def datetime(value: dt.datetime | None) -> Markup:
    """A time in the account's zone; the title gives UTC."""
    return Markup("–") if value is None else _time(value, moment(value))


def moment(value: dt.datetime) -> str:
    """The same in words alone, for where no element may stand, as in an attribute."""
    local = value.astimezone(_zone())
    return f"{local.day} {local:%b %Y, %H:%M}"


def ago(value: dt.datetime | None) -> Markup:
    """How long ago, in the largest unit that fits."""
    if value is None:
        return Markup("–")
    seconds = (db.now() - value).total_seconds()
    return _time(value, _span(seconds))


def _time(value: dt.datetime, words: str) -> Markup:
    at = value.isoformat(timespec="seconds")
    # Nothing in it is anybody's text, so that nothing has to be escaped.
    return Markup(f'<time datetime="{at}" title="{at[:10]} {at[11:19]} UTC">{words}</time>')  # noqa: S704


def _span(seconds: float) -> str:
    if seconds < 0:
        return f"in {_length(-seconds)}"
    return "just now" if seconds < 5 else f"{_length(seconds)} ago"


def _length(seconds: float) -> str:
    for size, unit in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds >= size:
            count = int(seconds // size)
            return f"{count} {unit}{'' if count == 1 else 's'}"
    return f"{int(seconds)} s"


def install(app: Flask) -> None:
    """Registers the filters."""
    app.jinja_env.filters.update(datetime=datetime, moment=moment, ago=ago)
    app.jinja_env.globals["now"] = db.now
