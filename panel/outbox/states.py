"""The states of a delivery and what may follow what. Every change of a row's state goes through this table."""

from __future__ import annotations

KINDS = ("notification", "blast", "test", "system")

STATES = (
    "queued",
    "sending",
    "sent",
    "deferred",
    "held",
    "failed",
    "uncertain",
    "canceled",
    "expired",
    "bounced",
)

TRANSITIONS: dict[str, frozenset[str]] = {
    "queued": frozenset({"sending", "held", "canceled", "expired", "deferred", "failed"}),
    "deferred": frozenset({"sending", "held", "canceled", "expired", "deferred", "failed"}),
    "held": frozenset({"queued", "canceled", "expired"}),
    # `sending` means that the body may flow: only what the server said, or its silence, ends it.
    "sending": frozenset({"sent", "deferred", "failed", "held", "queued", "uncertain"}),
    "uncertain": frozenset({"sent", "canceled"}),
    "sent": frozenset({"bounced"}),
    "failed": frozenset(),
    "canceled": frozenset(),
    "expired": frozenset(),
    "bounced": frozenset(),
}

DUE = ("queued", "deferred")
FINAL = ("sent", "failed", "canceled", "expired", "bounced")


class WrongTransition(ValueError):
    """A change of state that the table does not have."""


def check(before: str, after: str) -> None:
    """Raises WrongTransition if a delivery in state `before` may not become `after`."""
    if after not in TRANSITIONS[before]:
        raise WrongTransition(f"{before} → {after}")


def sources(after: str) -> tuple[str, ...]:
    """The states from which a delivery may become `after`."""
    return tuple(state for state, targets in TRANSITIONS.items() if after in targets)
