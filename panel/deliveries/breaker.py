"""A server that does not work rests: its deliveries wait, nothing is spent or dropped, and the owner is told once."""

from __future__ import annotations

import datetime as dt

from panel import db
from panel.deliveries.decide import FAILURES_BEFORE_PAUSE, QUOTA_PAUSE, Decision, pause_length
from panel.servers import service as servers
from panel.servers.service import Route
from panel.smtp.outcome import FailureCode, Outcome

# These say that nobody is there: one of them is enough.
_AT_ONCE = frozenset({FailureCode.CONNECT_TIMEOUT, FailureCode.HOST_NOT_FOUND})


def note(route: Route, outcome: Outcome, decision: Decision) -> None:
    """Counts what an attempt says of its server, and pauses it when it is time to. In the account's scope."""
    if route.server_id is None or route.server_version is None:
        return  # the platform server is the operator's, who watches it
    if decision.pause is None:
        if outcome.accepted and route.failing:
            servers.clear_failures(route.server_id)
        return
    if outcome.failure is FailureCode.CANCELED:
        return
    error = (outcome.reply or outcome.detail)[:1000]
    failures = servers.count_failure(route.server_id, error=error)
    until = _pause_until(outcome, decision, failures)
    if until is not None or decision.pause != "server":
        servers.pause(route.server_id, route.server_version, reason=decision.pause, until=until, error=error)


def _pause_until(outcome: Outcome, decision: Decision, failures: int) -> dt.datetime | None:
    if decision.pause == "quota":
        return db.now() + dt.timedelta(seconds=QUOTA_PAUSE)
    if decision.pause != "server":
        return None  # until somebody mends it
    if failures < FAILURES_BEFORE_PAUSE and outcome.failure not in _AT_ONCE:
        return None
    return db.now() + dt.timedelta(seconds=pause_length(failures))
