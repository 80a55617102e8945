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
from panel.servers.routing import Route, route_of
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


def forecast(route: Route, count: int, *, at: dt.datetime | None = None) -> Forecast:
    """When `count` more letters by this route will have gone, after what waits already. In the account's scope.

    at: when they may begin, if that is not now.
    """
    limits, ahead = limits_in_force(route), _ahead(route)
    now, counts = counts_in_force(route)
    done = schedule.done(
        count,
        ahead=ahead,
        not_before=at.timestamp() if at else 0.0,
        limits=limits,
        counts=counts,
        now=max(now, _rests_until(route)),
        speed=limits.connections * LETTERS_A_SECOND,
    )
    done_at = dt.datetime.fromtimestamp(done.at, dt.UTC)
    return Forecast(
        done_at=done_at,
        per_day=limits.per_day,
        binding=cast("Binding", done.binding.name) if done.binding else None,
        # What waits now may have gone by the time that was set.
        words=_words(route, count, ahead=0 if at else ahead, limits=limits, binding=done.binding, at=done_at),
    )


def waiting_words(route: Route) -> str:
    """When what waits for a route will have gone; empty when nothing waits, or will not for long."""
    ahead = _ahead(route)
    if not ahead:
        return ""
    letters = "1 letter waits" if ahead == 1 else f"{ahead:,} letters wait"
    return f"{letters}: done {about(forecast(route, 0).done_at)}."


def limits_in_force(route: Route) -> Limits:
    """Those of the server; of the platform's, what it lets the account send in a day. In the account's scope."""
    if route.server_id is None:
        return replace(route.limits, per_day=accounts.current().platform_daily_limit)
    return route.limits


def counts_in_force(route: Route) -> tuple[float, Counts]:
    """The time, in seconds since 1970, and what of these limits is used. In the account's scope."""
    if route.server_id is not None or not limits_in_force(route).limited:
        return pace.current_counts(route)
    since = db.now() - dt.timedelta(seconds=DAY.length + DAY.width)
    return time.time(), {DAY.length: outbox.sends(None, since=since, width=DAY.width)}


def _rests_until(route: Route) -> float:
    # Whatever else it rests for, nobody knows when it works again.
    renews = route.paused_until if route.paused_reason == "quota" else None
    return max((at.timestamp() for at in (renews, route.told_to_wait_until) if at), default=0.0)


def _ahead(route: Route) -> int:
    if route.server_id is None and limits_in_force(route).limited:
        # One limit for all of the account's letters that the platform's server takes.
        return sum(map(_waiting, filter(_by_platform, addresses.all_addresses())))
    address = addresses.find(route.address_id) if route.address_id else None
    return _waiting(address) if address else 0


def _by_platform(address: addresses.OutboundAddress) -> bool:
    return route_of(address.id).server_id is None


def _waiting(address: addresses.OutboundAddress) -> int:
    return outbox.waiting(address.id, default=address.is_default)


def _words(route: Route, count: int, *, ahead: int, limits: Limits, binding: Window | None, at: dt.datetime) -> str:
    people = "1 person" if count == 1 else f"{count:,} people"
    before = f" after {_letters(ahead)} already" if ahead else ""
    allowed = ""
    if binding is not None:
        rate = getattr(limits, f"per_{binding.name}")
        whose = "your server allows" if route.server_id else "the platform’s server allows you"
        allowed = f", {whose} {rate:,} {a(binding)}"
    return f"{people}{before}{allowed}: done {about(at)}{_rests(route)}"


def _rests(route: Route) -> str:
    if not route.paused:
        return ""
    if route.paused_reason == "quota" and route.paused_until is not None:
        return f"; your server has taken all it may for now and goes on {about(route.paused_until, roughly=False)}"
    return "; your server does not work at the moment, so it may take longer"


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
