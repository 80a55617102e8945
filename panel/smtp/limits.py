"""How much a mail server takes: connections at once, and letters in any minute, hour and day."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

USUAL_CONNECTIONS: Final = 10
"""Where nobody says another number. Servers that say one say 10 or more; providers of mailboxes say fewer."""

RATES: Final = ("per_minute", "per_hour", "per_day")
MOST_CONNECTIONS: Final = 50
MOST_LETTERS: Final = 10_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """None: no limit. A rate holds in every span of that length, wherever it begins."""

    connections: int = USUAL_CONNECTIONS
    per_minute: int | None = None
    per_hour: int | None = None
    per_day: int | None = None

    @property
    def rates(self) -> tuple[int | None, int | None, int | None]:
        """Letters per minute, per hour and per day."""
        return (self.per_minute, self.per_hour, self.per_day)

    @property
    def limited(self) -> bool:
        """Whether there is any limit on letters."""
        return self.rates != (None, None, None)

    def changed(self, entered: Mapping[str, Any]) -> Limits:
        """With what a person entered in place of the provider's: 0 stands for no limit. What was not entered stays."""
        given: dict[str, int | None] = {name: entered[name] or None for name in RATES if entered.get(name) is not None}
        if entered.get("connections"):
            given["connections"] = entered["connections"]
        return replace(self, **given)  # type: ignore[arg-type]  # "connections" is a number, see above


NO_LIMITS: Final = Limits()
