"""The time zones that an account may choose: places of the IANA database, and UTC."""

from __future__ import annotations

from functools import cache
from typing import Final
from zoneinfo import available_timezones

# Other names in the database are abbreviations, or old names of these.
_AREAS: Final = frozenset(
    ("Africa", "America", "Antarctica", "Arctic", "Asia", "Atlantic", "Australia", "Europe", "Indian", "Pacific")
)


@cache
def zones() -> tuple[str, ...]:
    """Their names, UTC first."""
    return ("UTC", *sorted(name for name in available_timezones() if name.split("/")[0] in _AREAS))
