"""What schemathesis must know of this API besides its description: values of formats, and a campaign that exists."""

from __future__ import annotations

import datetime as dt
import itertools
import os
from typing import Any

import schemathesis
from hypothesis import strategies as st

_NUMBERS = itertools.count()
_WORDS = st.from_regex(r"\A[a-z0-9]{1,12}\Z")

# Addresses that anybody would call one; the corners of RFC 5322 are tried elsewhere.
schemathesis.openapi.format("email", st.builds("{}.{}@{}.example.com".format, _WORDS, _WORDS, _WORDS))
schemathesis.openapi.format(
    "date-time",
    # A day within the bounds, so that no zone takes the time out of them.
    st.dates(dt.date(2000, 1, 2), dt.date(2099, 12, 30)).map(lambda day: f"{day.isoformat()}T23:45:00.5+02:00"),
)


@schemathesis.hook
def map_case(context: Any, case: Any) -> Any:
    """Most of what fits the description is about a campaign that is there, and about people who are new in it."""
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return case
    if isinstance(case.body, dict):
        events = case.body.get("events")
        for event in events if isinstance(events, list) else [case.body]:
            if isinstance(event, dict) and "campaign" in event:
                _settle(event)
    if case.path_parameters and next(_NUMBERS) % 2:
        case.path_parameters["id"] = os.environ["DELIVERY"]
    return case


def _settle(event: dict[str, Any]) -> None:
    event["campaign"] = "spring"
    for name in ("referrer", "friend"):
        if isinstance(event.get(name), dict):
            event[name]["email"] = f"n{next(_NUMBERS)}@example.com"
    if isinstance(event.get("friend"), dict) and not event.get("referrer"):
        event["friend"]["email"] = "fi@example.com"  # news of a referral that is known
