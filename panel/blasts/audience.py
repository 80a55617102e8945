"""Whom a blast is for: kept with it as plain data, shown in words, and turned into a selection of participants."""

from __future__ import annotations

import datetime as dt
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal, Self, get_args
from zoneinfo import ZoneInfo

from panel.message.tags import CAMPAIGN, FRIEND, LINKS, RECIPIENT, REFERRER
from panel.participants.service import Selection

Who = Literal["all", "referrers", "friends"]
Referrals = Literal["any", "none", "some"]

_PEOPLE: Final = {"all": "Everybody", "referrers": "All referrers", "friends": "All friends"}

# Some of those whom a blast to everybody reaches are no referrers, others no friends: it can only fill what all have.
_TAGS: Final = {
    "all": RECIPIENT | CAMPAIGN | LINKS,
    "referrers": RECIPIENT | REFERRER | CAMPAIGN | LINKS,
    "friends": RECIPIENT | FRIEND | CAMPAIGN | LINKS,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Audience:
    """Some of a campaign's participants. `since` and `before` are days of the account's time zone.

    `referrals`: "any" number of them, "none", or "some", which is `at_least` so many.
    """

    who: Who = "all"
    since: dt.date | None = None
    before: dt.date | None = None
    referrals: Referrals = "any"
    at_least: int = 1
    search: str = ""

    @classmethod
    def of(cls, data: dict[str, Any]) -> Self:
        """As it was kept."""
        days = {name: dt.date.fromisoformat(data[name]) if data.get(name) else None for name in ("since", "before")}
        return cls(**(data | days))

    def data(self) -> dict[str, Any]:
        """To be kept."""
        days = {"since": self.since, "before": self.before}
        return asdict(self) | {name: day.isoformat() if day else None for name, day in days.items()}

    @property
    def tags(self) -> frozenset[str]:
        """The merge tags that can be filled for each of them."""
        return _TAGS[self.who]

    def selection(self, zone: ZoneInfo) -> Selection:
        """The same, as participants are selected by."""
        return Selection(
            who=self.who,
            since=_begin(self.since, zone),
            before=_begin(self.before, zone),
            fewest_referrals=self.at_least if self.referrals == "some" else None,
            most_referrals=0 if self.referrals == "none" else None,
            search=self.search,
        )

    def words(self) -> str:
        """In a sentence's half, for people."""
        parts = [_PEOPLE[self.who]]
        if self.since:
            parts.append(f"added since {_day(self.since)}")
        if self.before:
            parts.append(f"added before {_day(self.before)}")
        if self.referrals == "none":
            parts.append("without a referral")
        elif self.referrals == "some":
            parts.append(f"with at least {self.at_least} {'referral' if self.at_least == 1 else 'referrals'}")
        if self.search:
            parts.append(f"whose name or address holds “{self.search}”")
        return ", ".join(parts)


WHO: Final = get_args(Who)
REFERRALS: Final = get_args(Referrals)


def _begin(day: dt.date | None, zone: ZoneInfo) -> dt.datetime | None:
    return dt.datetime.combine(day, dt.time(), tzinfo=zone) if day else None


def _day(day: dt.date) -> str:
    return f"{day.day} {day:%B %Y}"
