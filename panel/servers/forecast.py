"""Before many letters: when the last of them will have gone, in words."""

from __future__ import annotations

import datetime as dt
import time
from dataclasses import dataclass, replace
from typing import Final, Literal, cast

from panel import db
from panel.accounts import service as accounts
from panel.addresses import service as addresses
from panel.outbox import service as outbox
from panel.servers import pace, schedule
from panel.servers.routing import Route
from panel.servers.windows import DAY, Counts, Window
from panel.smtp.limits import Limits

LETTERS_A_SECOND: Final = 5.0
"""What a connection is trusted to carry: servers on the Internet take a fifth of a second for a letter, or less."""

Binding = Literal["day", "hour", "minute"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """When all will have gone; the limit by the day, if any; which limit keeps them waiting; and all of it in words."""

    done_at: dt.datetime
    per_day: int | None
    binding: Binding | None
    words: str


def forecast(route: Route, count: int) -> Forecast:
    """When `count` more letters by this route will have gone, after what waits already. In the account's scope."""
    limits, ahead = _limits(route), _ahead(route)
    now, counts = _counts(route, limits)
    done = schedule.done(
        count + ahead, limits=limits, counts=counts, now=now, speed=limits.connections * LETTERS_A_SECOND
    )
    at = dt.datetime.fromtimestamp(done.at, dt.UTC)
    return Forecast(
        done_at=at,
        per_day=limits.per_day,
        binding=cast("Binding", done.binding.name) if done.binding else None,
        words=_words(route, count, ahead=ahead, limits=limits, binding=done.binding, at=at),
    )


def waiting_words(route: Route) -> str:
    """When what waits for a route will have gone; empty when nothing waits, or will not for long."""
    ahead = _ahead(route)
    if not ahead:
        return ""
    letters = "1 letter waits" if ahead == 1 else f"{ahead:,} letters wait"
    return f"{letters}: done {about(forecast(route, 0).done_at)}."


def _limits(route: Route) -> Limits:
    if route.server_id is None:
        return replace(route.limits, per_day=accounts.current().platform_daily_limit)
    return route.limits


def _counts(route: Route, limits: Limits) -> tuple[float, Counts]:
    if route.server_id is not None or not limits.limited:
        return pace.current_counts(route)
    since = db.now() - dt.timedelta(seconds=DAY.length + DAY.width)
    return time.time(), {DAY.length: outbox.sends(None, since=since, width=DAY.width)}


def _ahead(route: Route) -> int:
    address = addresses.find(route.address_id) if route.address_id else None
    return outbox.waiting(address.id, default=address.is_default) if address else 0


def _words(route: Route, count: int, *, ahead: int, limits: Limits, binding: Window | None, at: dt.datetime) -> str:
    people = "1 person" if count == 1 else f"{count:,} people"
    before = f" after {_letters(ahead)} already" if ahead else ""
    allowed = ""
    if binding is not None:
        rate = getattr(limits, f"per_{binding.name}")
        whose = "your server allows" if route.server_id else "the platform’s server allows you"
        allowed = f", {whose} {rate:,} {a(binding)}"
    rests = "; your server does not work at the moment, so it may take longer" if route.paused else ""
    return f"{people}{before}{allowed}: done {about(at)}{rests}"


def _letters(count: int) -> str:
    return "1 letter that waits" if count == 1 else f"{count:,} letters that wait"


def a(window: Window) -> str:
    """The window as one says it after a number."""
    return "an hour" if window.name == "hour" else f"a {window.name}"


def about(at: dt.datetime, *, roughly: bool = True) -> str:
    """A time to come, in the account's zone, no more exact than it is known."""
    zone, now = accounts.zone(), db.now()
    if roughly and at - now < dt.timedelta(minutes=2):
        return "in a minute or two"
    if roughly and at - now < dt.timedelta(minutes=90):
        return f"in about {-(-int((at - now).total_seconds()) // 60)} minutes"
    step = dt.timedelta(minutes=15 if roughly and at - now > dt.timedelta(hours=6) else 1)
    local = _up_to(at, step).astimezone(zone)
    days = (local.date() - now.astimezone(zone).date()).days
    clock = f"about {local:%H:%M}" if roughly else f"at {local:%H:%M}"
    return f"{_day(local, days)}{clock}"


def _up_to(at: dt.datetime, step: dt.timedelta) -> dt.datetime:
    begin = dt.datetime.fromtimestamp(0, dt.UTC)
    return begin - ((begin - at) // step) * step


def _day(local: dt.datetime, days: int) -> str:
    if days <= 1:
        return "tomorrow " if days == 1 else ""
    if days < 7:
        return f"on {local:%A} "
    year = f" {local.year}" if days > 300 else ""
    return f"on {local.day} {local:%B}{year} "
