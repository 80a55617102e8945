"""What the event API refuses, and why."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from panel.web import problems


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong: where (a JSON pointer into the body, "" for the whole of it) and what, in words."""

    pointer: str
    detail: str


class Refused(Exception):
    """The report was not taken, and nothing of it was done."""

    def __init__(self, status: int, faults: list[Fault]) -> None:
        super().__init__(*faults)
        self.status = status
        self.faults = faults

    def problem(self) -> dict[str, Any]:
        """The problem (RFC 9457) as the caller gets it."""
        words = " ".join(fault.detail for fault in self.faults)
        return problems.body(self.status, words, [asdict(fault) for fault in self.faults])


def refused(status: int, pointer: str, detail: str) -> Refused:
    """A refusal with one fault."""
    return Refused(status, [Fault(pointer, detail)])
