"""Which of the account's letters wait for a limit of their own server, in words: nothing is wrong with them."""

from __future__ import annotations

import datetime as dt
import uuid
from dataclasses import dataclass

from panel.servers import windows
from panel.servers.forecast import a, about, counts_in_force, forecast, limits_in_force, waiting_words
from panel.servers.pace import resting, usage
from panel.servers.routing import Route, route_of
from panel.servers.windows import Usage


@dataclass(frozen=True, slots=True)
class Wait:
    """A server whose limit is used up for now."""

    route: Route
    usage: Usage
    until: dt.datetime

    @property
    def limit(self) -> str:
        """As in "500 a day"."""
        return f"{self.usage.limit:,} {a(self.usage.window)}"

    @property
    def goes_on(self) -> str:
        """As in "at 15:00"."""
        return about(self.until, roughly=False)

    @property
    def words(self) -> str:
        """What one of its letters waits for."""
        return f"Waits for its server’s limit of {self.limit}; letters go on {self.goes_on}."

    @property
    def queue(self) -> str:
        """How many wait, and when the last of them will have gone."""
        return waiting_words(self.route)


def waits() -> dict[uuid.UUID, Wait]:
    """The lanes that wait, as `pace.resting` names them. In the account's scope."""
    found: dict[uuid.UUID, Wait] = {}
    by_server: dict[uuid.UUID, Wait | None] = {}
    for lane in resting():
        route = route_of(lane)  # of the account's id, which is no address: the default one
        if route.server_id is None:
            continue
        if route.server_id not in by_server:
            by_server[route.server_id] = _wait(route)
        wait = by_server[route.server_id]
        if wait is not None:
            found[lane] = wait
    return found


@dataclass(frozen=True, slots=True)
class Keeps:
    """What a route's limits do to its letters, in words for the page of a blast. Empty where they do nothing.

    `now`: what they wait for at this moment; `done`: when the last of them will have gone, as in "on Friday about
    15:00".
    """

    now: str = ""
    done: str = ""


def keeps(route: Route) -> Keeps:
    """The same for the account's letters by the platform's server, of which an account may send so many a day. In the
    account's scope."""
    limits = limits_in_force(route)
    if not limits.limited:
        return Keeps()
    now, counts = counts_in_force(route)
    full = windows.binding(windows.usages(counts, limits, now))
    foretold = forecast(route, 0)
    done = about(foretold.done_at) if foretold.binding else ""
    if full is None or full.renews_at is None:
        return Keeps(done=done)
    whose = "Your server’s" if route.server_id else "The platform server’s"
    goes_on = about(dt.datetime.fromtimestamp(full.renews_at, dt.UTC), roughly=False)
    words = f"{whose} limit of {full.limit:,} {a(full.window)} is used up; letters go on {goes_on}"
    return Keeps(now=f"{words}, and all will have gone {done}." if done else f"{words}.", done=done)


def _wait(route: Route) -> Wait | None:
    _, found = usage(route)
    full = windows.binding(found)
    if full is None or full.renews_at is None:
        return None
    return Wait(route, full, dt.datetime.fromtimestamp(full.renews_at, dt.UTC))
