"""A server that does not work rests: its deliveries wait, nothing is spent or dropped, and the owner is told."""

from __future__ import annotations

import datetime as dt

from sqlalchemy import select

from panel import db
from panel.deliveries import holds, renewal
from panel.deliveries.decide import FAILURES_BEFORE_PAUSE, Decision, pause_length, short_rest
from panel.servers import service as servers
from panel.servers.service import Route
from panel.smtp.outcome import About, FailureCode, Outcome, Phase


def note(route: Route, outcome: Outcome, decision: Decision) -> None:
    """Counts what an attempt says of its server; pauses it when it is time to, and frees what it held. In the account's
    scope, in no transaction."""
    if route.server_id is None or route.server_version is None:
        return  # the platform server is the operator's, who watches it
    if decision.pause is None:
        if route.failing and _works(outcome) and servers.clear_failures(route.server_id, route.server_version):
            holds.free(holds.of_server(route), limit=holds.PIECE)  # what is left has a job of its own
        return
    if decision.pause == "rate":
        until = _now() + dt.timedelta(seconds=short_rest(outcome) or 0.0)
        servers.rest(route.server_id, route.server_version, until=until)
        return
    if _fail(route, outcome, decision.pause):
        holds.hold(holds.of_server(route), reason=decision.pause, limit=holds.PIECE)


def _fail(route: Route, outcome: Outcome, reason: str) -> bool:
    """Counts a failure; whether the server rests from now on and no other stands in for it."""
    assert route.server_id is not None
    assert route.server_version is not None
    error = (outcome.reply or outcome.detail)[:1000]
    with db.transaction():
        failures = servers.count_failure(
            route.server_id,
            route.server_version,
            error=error,
            at_least=FAILURES_BEFORE_PAUSE if _at_once(outcome) else 0,
        )
        if reason == "server" and (failures is None or failures < FAILURES_BEFORE_PAUSE):
            return False  # it rests already, has other settings by now, or may have slipped
        until = _until(route, outcome, reason, failures or 1)
        paused = servers.pause(route.server_id, route.server_version, reason=reason, until=until, error=error)
    return paused and not route.fallback


def _until(route: Route, outcome: Outcome, reason: str, failures: int) -> dt.datetime | None:
    now = _now()
    if reason == "quota":
        assert route.server_id is not None
        return renewal.renews_at(route.server_id, outcome, failures=failures, now=now)
    if reason == "server":
        return now + dt.timedelta(seconds=pause_length(failures))
    return None  # until somebody mends it


def _now() -> dt.datetime:
    """By the database's clock, with which the ends of rests are compared."""
    now: dt.datetime = db.session().execute(select(db.clock())).scalar_one()
    return now


def _at_once(outcome: Outcome) -> bool:
    """Whether one failure is enough: nobody is there, or a password was not taken, which must not go on."""
    if outcome.failure is FailureCode.CONNECT_TIMEOUT or outcome.about is About.CREDENTIALS:
        return True
    return outcome.phase is Phase.AUTH and outcome.code is None


def _works(outcome: Outcome) -> bool:
    """Whether it shows that the server does its work: it took the letter, or refused it for the letter's own sake."""
    asked = outcome.code is not None and outcome.phase not in (Phase.GREETING, Phase.TLS, Phase.HELLO, Phase.AUTH)
    return outcome.accepted or (asked and outcome.about in (About.RECIPIENT, About.MESSAGE))
