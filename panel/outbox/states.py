"""The states of a delivery and what may follow what. Every change of a row's state goes through this table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

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

DUE = ("queued", "deferred")
FINAL = ("sent", "failed", "canceled", "expired", "bounced")

# Those that a person may send again, as a new delivery; nothing sends any of them by itself.
RESENDABLE = ("uncertain", "failed", "canceled", "expired", "sent")


@dataclass(frozen=True, slots=True)
class Edge:
    """One way from a state to another, and when it is taken. docs/states.md shows them all."""

    before: str
    after: str
    when: str


_BREAKER = "its server is paused (breaker, credentials, quota), a limit is used up, or the account is suspended"
_CANCELED = "somebody stopped it, or its recipient is suppressed by now"
_EXPIRED = "its own time is over, or it was held for too long"

EDGES: Final = (
    Edge("queued", "sending", "in the commit just before the letter's body may flow"),
    Edge("queued", "deferred", "not now, by the server's reply before the body; or it could not be tried"),
    Edge("queued", "held", _BREAKER),
    Edge("queued", "failed", "no for good, by the server's reply before the body; or no letter can be made"),
    Edge("queued", "canceled", _CANCELED),
    Edge("queued", "expired", _EXPIRED),
    Edge("deferred", "sending", "as from `queued`, at its next attempt"),
    Edge("deferred", "deferred", "not now, once more"),
    Edge("deferred", "held", _BREAKER),
    Edge("deferred", "failed", "no for good; or it was tried for long enough"),
    Edge("deferred", "canceled", _CANCELED),
    Edge("deferred", "expired", _EXPIRED),
    Edge("held", "queued", "its server is back, the account is free again, or it has another route by now"),
    Edge("held", "canceled", _CANCELED),
    Edge("held", "expired", _EXPIRED),
    # `sending` means that the body may flow: only what the server said, or its silence, ends it.
    Edge("sending", "sent", "250 to the final dot, whatever QUIT does"),
    Edge("sending", "deferred", "the server's reply, by the failure table: not now"),
    Edge("sending", "failed", "the server's reply, by the failure table: no for good"),
    Edge("sending", "held", "the server's reply, by the failure table: not about this letter, but its server"),
    Edge("sending", "queued", "the connection broke before the final dot can have left"),
    Edge(
        "sending",
        "uncertain",
        "it broke, timed out or the worker died after the final dot may have left and before its reply was recorded",
    ),
    Edge("uncertain", "sent", "the same attempt learns of the 250 after all, or a person's *Mark as sent*"),
    Edge("uncertain", "canceled", "a person's *Resend*: the new delivery takes its place"),
    Edge("sent", "bounced", "a bounce is reported"),
)

TRANSITIONS: Final[dict[str, frozenset[str]]] = {
    state: frozenset(edge.after for edge in EDGES if edge.before == state) for state in STATES
}


class WrongTransition(ValueError):
    """A change of state that the table does not have."""


def check(before: str, after: str) -> None:
    """Raises WrongTransition if a delivery in state `before` may not become `after`."""
    if after not in TRANSITIONS[before]:
        raise WrongTransition(f"{before} → {after}")


def sources(after: str) -> tuple[str, ...]:
    """The states from which a delivery may become `after`."""
    return tuple(state for state, targets in TRANSITIONS.items() if after in targets)
