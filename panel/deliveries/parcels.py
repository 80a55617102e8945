"""A lane's next deliveries, claimed, screened and made into letters: as many as about a second of sending takes."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import structlog
from sqlalchemy.exc import SQLAlchemyError

from panel import db
from panel.config import Mailbox
from panel.deliveries import claims, letters, record, screening
from panel.deliveries.claims import Claim, Claimed, LaneKey, LeaseLost
from panel.deliveries.decide import trying_time
from panel.deliveries.screening import Aside
from panel.message.template import TooLarge
from panel.servers import service as servers
from panel.servers.service import Allowance, Envelope, Route
from panel.smtp.submission import MakeLetter

log = structlog.get_logger(__name__)


@dataclass(slots=True, eq=False)
class Parcel:
    """One letter on its way: claimed, addressed and made.

    `began`: its body may have begun to flow; `begun`: its attempt's row is written; `tried`: how often a connection
    ended before the server had heard of it.
    """

    claimed: Claimed
    route: Route
    envelope: Envelope
    letter: MakeLetter
    trying: dt.timedelta
    allowance: Allowance | None = None
    began: bool = False
    begun: bool = False
    tried: int = 0

    @property
    def claim(self) -> Claim:
        """The right to try it."""
        return self.claimed.claim

    @property
    def to_address(self) -> str:
        """The recipient."""
        return self.claimed.to_address

    @property
    def attempts(self) -> int:
        """How many were spent before."""
        return self.claimed.attempts


def make(key: LaneKey, claimed: Sequence[Claimed], *, platform_from: Mailbox) -> list[Parcel]:
    """Letters of what may be sent now; the rest is set aside with its reason. In the account's scope."""
    if not claimed:
        return []
    screen, now = screening.Screen(key.address_id, claimed), db.now()
    made: list[Parcel] = []
    aside: dict[Aside, list[Claim]] = {}
    for one in claimed:
        route = screen.route_of(one)
        reason = screen.aside(one, route)
        if reason is None:
            envelope = servers.envelope_of(route, platform_from=platform_from)
            letter = _letter(one, envelope)
            if letter is not None:
                trying = trying_time(since=one.trying_since, held_at=one.held_at, now=now)
                made.append(Parcel(one, route, envelope, letter, trying))
                continue
            reason = Aside("failed", "letter_cannot_be_made")
        aside.setdefault(reason, []).append(one.claim)
    for reason, those in aside.items():
        set_aside(those, reason)
    return made


def screen_again(key: LaneKey, some: Sequence[Parcel]) -> list[Parcel]:
    """Those of letters made a while ago that may still be sent; the rest is set aside, or given back where another
    server sends by now. In the account's scope."""
    screen = screening.Screen(key.address_id, [parcel.claimed for parcel in some])
    kept: list[Parcel] = []
    elsewhere: list[Parcel] = []
    aside: dict[Aside, list[Parcel]] = {}
    for parcel in some:
        route = screen.route_of(parcel.claimed)
        reason = screen.aside(parcel.claimed, route)
        if reason is not None:
            aside.setdefault(reason, []).append(parcel)
        elif route.sends_as(parcel.route):
            kept.append(parcel)
        else:
            elsewhere.append(parcel)
    for parcel in (*elsewhere, *(one for those in aside.values() for one in those)):
        if parcel.begun:
            record.abandoned(parcel.claim)
    for reason, those in aside.items():
        _give_places_back(those)
        set_aside([parcel.claim for parcel in those], reason)
    if elsewhere:
        give_back(elsewhere)
    return kept


def _letter(one: Claimed, envelope: Envelope) -> MakeLetter | None:
    try:
        return letters.maker_of(one, envelope)
    except (SQLAlchemyError, MemoryError):
        raise  # which says nothing of the letter
    except Exception as error:  # whatever is wrong with one letter keeps no other from being sent
        if not isinstance(error, TooLarge | ValueError):
            log.exception("a letter cannot be made", delivery=one.id)
        else:
            log.warning("a letter cannot be made", delivery=one.id, error=type(error).__name__)
        return None


def set_aside(those: Iterable[Claim], aside: Aside) -> None:
    """Ends claims without an attempt, in one transaction."""
    with db.transaction():
        for claim in those:
            try:
                record.set_aside(claim, aside.state, reason=aside.reason)
            except LeaseLost:
                log.warning("lease lost", delivery=claim.delivery_id)


def keep_pace(made: list[Parcel]) -> dt.datetime | None:
    """Takes as many of a batch as the server's limits let go now, and gives back the rest. In the account's scope.

    Returns when there is room again, if that is why some were given back.
    """
    own = [parcel for parcel in made if parcel.route.server_id is not None]
    if not own:
        return None
    allowance = servers.take(own[0].route, len(own))
    for parcel in own[: allowance.granted]:
        parcel.allowance = allowance
    rest = own[allowance.granted :]
    if not rest:
        return None
    # They are due again at once: it is the lane that rests, and it stops resting when the owner raises the limit.
    claims.release([parcel.claim for parcel in rest])
    gone = set(map(id, rest))
    made[:] = [parcel for parcel in made if id(parcel) not in gone]
    return allowance.again_at


def give_back(some: Sequence[Parcel], *, wait: float = 0.0) -> None:
    """Gives back letters that were not begun, and their place in their server's limits. In the account's scope."""
    _give_places_back(some)
    claims.release([parcel.claim for parcel in some], wait=wait)


def _give_places_back(some: Sequence[Parcel]) -> None:
    taken: dict[Allowance, list[Parcel]] = {}
    for parcel in some:
        if parcel.allowance is not None:
            taken.setdefault(parcel.allowance, []).append(parcel)
    for allowance, those in taken.items():
        servers.give_back(those[0].route, len(those), of=allowance)
