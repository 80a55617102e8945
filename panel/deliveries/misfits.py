"""A letter that its server never takes, while it takes others: what the server says is about that letter, then.

A server may say “temporary lookup failure” of one recipient's domain, for days, in the words it would use of trouble
of its own. It would not do to let a whole account wait for that one letter. Nor would it do to try one every minute for
ever because the platform's server says that its sender is to blame: that rests for nobody and is mended by no account.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import ColumnElement, func, select

from panel import db
from panel.deliveries.claims import Claim
from panel.outbox.service import Attempt, Delivery
from panel.servers.service import Route
from panel.smtp.outcome import About, Outcome, Phase

ENOUGH: Final = 3
"""Refusals of one letter, as if it were for the server's own sake, after which it may be for the letter's."""

_OWN: Final = (About.SERVER,)  # an own server's other troubles pause it until its owner mends them
# A quota renews: for want of it nobody's letter ends.
_PLATFORM: Final = (About.SERVER, About.SENDER, About.CREDENTIALS)
_PHASES: Final = (Phase.RCPT, Phase.DATA, Phase.FINAL_DOT)  # when the server knows more of a letter than its sender
_NEWEST: Final = 1_000  # letters of all accounts among which one that the platform's server took is looked for


def is_misfit(claim: Claim, route: Route, outcome: Outcome) -> bool:
    """Whether what the server said of itself is about this letter: it said so often enough, and took another since the
    first time. In no scope."""
    suspects = _PLATFORM if route.server_id is None else _OWN
    if outcome.about not in suspects or outcome.code is None or outcome.phase not in _PHASES:
        return False
    with db.account_scope(claim.account_id) as session:
        refused = select(func.count(), func.min(Attempt.started_at)).where(
            Attempt.delivery_id == claim.delivery_id,
            Attempt.about.in_([str(about) for about in suspects]),
            Attempt.code.is_not(None),
            Attempt.phase.in_([str(phase) for phase in _PHASES]),
            Attempt.server == route.label,
        )
        earlier, first = session.execute(refused).one()
        if earlier + 1 < ENOUGH or first is None:
            return False
        since = Delivery.sent_at > first
        if session.scalar(select(Delivery.id).where(since, _by(route)).limit(1)) is not None:
            return True
    if route.server_id is not None:
        return False
    with db.system_scope("the platform's server is every account's") as session:
        newest = select(Delivery.id).order_by(Delivery.id.desc()).limit(_NEWEST)
        found = select(Delivery.id).where(Delivery.id.in_(newest), since, _by(route)).limit(1)
        return session.scalar(found) is not None


def _by(route: Route) -> ColumnElement[bool]:
    return Delivery.server_id.is_(None) if route.server_id is None else Delivery.server_id == route.server_id
