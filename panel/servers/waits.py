"""Which of the account's letters wait for a limit of their own server, in words: nothing is wrong with them."""

from __future__ import annotations

import datetime as dt
import uuid
from dataclasses import dataclass

from panel.servers import windows
from panel.servers.forecast import a, about, waiting_words
from panel.servers.pace import lanes_at_limits, usage
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
    for lane in lanes_at_limits():
        route = route_of(lane)  # of the account's id, which is no address: the default one
        if route.server_id is None:
            continue
        if route.server_id not in by_server:
            by_server[route.server_id] = _wait(route)
        wait = by_server[route.server_id]
        if wait is not None:
            found[lane] = wait
    return found


def _wait(route: Route) -> Wait | None:
    _, found = usage(route)
    full = windows.binding(found)
    if full is None or full.renews_at is None:
        return None
    return Wait(route, full, dt.datetime.fromtimestamp(full.renews_at, dt.UTC))
