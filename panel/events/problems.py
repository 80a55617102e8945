"""What the event API refuses, and why."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Final

from panel.web import problems

# Nobody mends more at once, and an answer must not be many times what was sent.
MOST: Final = 100
_LONGEST: Final = 300  # characters


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong: where (a JSON pointer into the body, "" for the whole of it) and what, in words."""

    pointer: str
    detail: str


@dataclass(slots=True)
class Faults:
    """The first MOST things that are wrong, and how many more there are."""

    told: list[Fault] = field(default_factory=list)
    more: int = 0

    def __bool__(self) -> bool:
        return bool(self.told)

    def add(self, pointer: str, detail: str) -> None:
        """Notes one, in few words."""
        if len(self.told) < MOST:
            self.told.append(Fault(pointer, detail if len(detail) <= _LONGEST else f"{detail[:_LONGEST]}…"))
        else:
            self.more += 1


class Refused(Exception):
    """The report was not taken, and nothing of it was done. `more` faults of what `about` points to are not told."""

    def __init__(self, status: int, faults: list[Fault], *, more: int = 0, about: str = "") -> None:
        super().__init__(*faults)
        self.status = status
        self.faults = faults
        self.more = more
        self.about = about

    def problem(self) -> dict[str, Any]:
        """The problem (RFC 9457) as the caller gets it."""
        told = [*self.faults, Fault(self.about, _and_more(self.more))] if self.more else self.faults
        return problems.body(self.status, " ".join(fault.detail for fault in told), [asdict(fault) for fault in told])


def _and_more(count: int) -> str:
    return "One more thing is wrong." if count == 1 else f"{count:,} more things are wrong."


def refused(status: int, pointer: str, detail: str) -> Refused:
    """A refusal with one fault."""
    return Refused(status, [Fault(pointer, detail)])
