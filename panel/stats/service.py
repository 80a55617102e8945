"""Home: what needs a person, and how it goes."""

from __future__ import annotations

import datetime as dt
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from flask import url_for
from sqlalchemy import ColumnElement, case, func, select

from panel import db, mark
from panel.accounts import service as accounts
from panel.addresses import service as addresses
from panel.blasts import service as blasts
from panel.campaigns import service as campaigns
from panel.deliveries import service as deliveries
from panel.outbox.service import Delivery
from panel.servers import service as servers

DAYS: Final = 30
SENT: Final = ("sent", "bounced")
WAITING: Final = ("queued", "sending", "deferred", "held")
TROUBLED: Final = ("failed", "expired", "uncertain")
RECENT: Final = dt.timedelta(days=7)
DOUBTS: Final = 3


@dataclass(frozen=True, slots=True)
class Need:
    """Something that only a person can mend: how bad, what, and where to do it."""

    kind: str  # of components/ui.html's banner
    title: str
    body: str
    label: str
    url: str
    doubts: Sequence[deliveries.Doubt] = ()


@dataclass(frozen=True, slots=True)
class Day:
    """Letters by day of the account's time zone."""

    date: dt.date
    sent: int
    waiting: int
    troubled: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.sent + self.waiting + self.troubled


@dataclass(frozen=True, slots=True)
class Row:
    """How a campaign's letters went."""

    campaign: campaigns.Campaign
    states: Counter[str]


def needs() -> list[Need]:
    """What needs a person, the worst first; servers that rest have a banner on every page."""
    found = [*_stopped(), *_letters_in_trouble(), *_unconfirmed(), *_at_their_limits()]
    found += _blasts_that_ask()
    order = ["error", "warning", "info"]
    return sorted(found, key=lambda need: order.index(need.kind))


def _stopped() -> list[Need]:
    if mark.stop() is None:
        return []
    return [
        Need(
            "error",
            "Nothing is sent at the moment",
            "The data of Ownpost was restored from a backup. What waits is kept until the people who run it have "
            "looked at what may have been sent before, so that nobody gets a letter twice.",
            "Deliveries",
            url_for("deliveries.index"),
        )
    ]


def _blasts_that_ask() -> list[Need]:
    return [
        Need(
            "warning",
            f"“{blasts.words_of(blast).subject}” did not start in time",
            "Nothing of Ownpost was running when this blast was to start, so nobody got it. Send it now, or cancel it.",
            "Look at it",
            url_for("blasts.show", campaign_id=blast.campaign_id, blast_id=blast.id),
        )
        for blast in blasts.asking()
    ]


def _letters_in_trouble() -> list[Need]:
    found = []
    if uncertain := _count(Delivery.state == "uncertain"):
        found.append(
            Need(
                "warning",
                f"{_letters(uncertain)} may or may not have arrived",
                "No answer of the server reached us. We never send such a letter again by ourselves; you can.",
                "Look at them" if uncertain > 1 else "Look at it",
                url_for("deliveries.index", state="uncertain"),
                deliveries.uncertain(DOUBTS),
            )
        )
    for state, happened in (("failed", "could not be sent"), ("expired", "waited too long and expired")):
        # Nothing marks these as seen, so they leave by themselves.
        if count := _count(Delivery.state == state, Delivery.made_at >= db.now() - RECENT):
            found.append(
                Need(
                    "info",
                    f"{_letters(count)} of the last 7 days {happened}",
                    "Its page says why. Mend what is wrong, an address perhaps, and send it again."
                    if count == 1
                    else "Their pages say why. Mend what is wrong, an address perhaps, and send them again.",
                    "Look at them" if count > 1 else "Look at it",
                    url_for("deliveries.index", state=state),
                )
            )
    return found


def _at_their_limits() -> list[Need]:
    """Not for anybody to mend: it only says why letters wait."""
    by_server = {wait.route.server_id: wait for wait in servers.waits().values()}
    return [
        Need(
            "info",
            f"{wait.route.from_address}: its server’s limit of {wait.limit} is used up",
            f"{wait.queue} Letters go on {wait.goes_on} by themselves.".strip(),
            "Limits",
            url_for("servers.edit", address_id=wait.route.address_id),
        )
        for wait in by_server.values()
    ]


def _letters(count: int) -> str:
    return "1 letter" if count == 1 else f"{count:,} letters"


def _unconfirmed() -> list[Need]:
    return [
        Need(
            "info",
            f"{address.email} is not confirmed yet",
            "Open the link in the letter we sent to it, or connect its own mail server.",
            "Settings",
            url_for("addresses.index"),
        )
        for address in addresses.all_addresses()
        if address.confirmed_at is None
    ]


def _count(*which: ColumnElement[bool]) -> int:
    return db.session().scalar(select(func.count()).select_from(Delivery).where(*which)) or 0


@dataclass(frozen=True, slots=True)
class Start:
    """The first steps of an account, and which of them are done."""

    has_address: bool
    has_server: bool
    has_tested: bool
    address_id: uuid.UUID | None

    @property
    def done(self) -> bool:
        """Whether nothing of it is left."""
        return self.has_address and self.has_server and self.has_tested


def start() -> Start:
    """How far the account has got."""
    address = addresses.default()
    tested = db.session().scalar(select(Delivery.id).where(Delivery.kind == "test", Delivery.state == "sent").limit(1))
    return Start(
        has_address=address is not None,
        has_server=any(servers.route_of(one.id).kind == "own" for one in addresses.all_addresses()),
        has_tested=tested is not None,
        address_id=address.id if address else None,
    )


def days() -> list[Day]:
    """The last 30 days, oldest first, each there even when nothing was sent."""
    zone = accounts.zone()
    today = db.now().astimezone(zone).date()
    dates = [today - dt.timedelta(days=ago) for ago in range(DAYS)]
    # Days begin when they do in the account’s zone, with its summer time; the newest is asked about first.
    begins = [dt.datetime.combine(date, dt.time(), tzinfo=zone) for date in dates]
    ago = case(*((Delivery.made_at >= begin, number) for number, begin in enumerate(begins)), else_=DAYS).label("ago")
    counted = db.session().execute(
        select(ago, Delivery.state, func.count())
        .where(Delivery.made_at >= begins[-1], Delivery.kind != "system")
        .group_by("ago", Delivery.state)
    )
    states: dict[dt.date, Counter[str]] = {date: Counter() for date in dates}
    for number, state, count in counted:
        states[dates[number]][state] += count
    return [_day(date, states[date]) for date in reversed(dates)]


def _day(date: dt.date, states: Counter[str]) -> Day:
    return Day(
        date=date,
        sent=sum(states[state] for state in SENT),
        waiting=sum(states[state] for state in WAITING),
        troubled=sum(states[state] for state in TROUBLED),
    )


def by_campaign() -> list[Row]:
    """Each campaign with the letters of the last 30 days by state."""
    since = db.now() - dt.timedelta(days=DAYS)
    counted = db.session().execute(
        select(Delivery.campaign_id, Delivery.state, func.count())
        .where(Delivery.made_at >= since, Delivery.campaign_id.is_not(None))
        .group_by(Delivery.campaign_id, Delivery.state)
    )
    states: dict[uuid.UUID, Counter[str]] = {}
    for campaign_id, state, count in counted:
        if campaign_id is not None:
            states.setdefault(campaign_id, Counter())[state] = count
    return [Row(campaign, states.get(campaign.id, Counter())) for campaign in campaigns.campaigns()]
