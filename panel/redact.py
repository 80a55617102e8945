"""Taking a deleted person's address out of kept JSON."""

from __future__ import annotations

import json
import re
from typing import Any, Final

SOMEBODY: Final = "(deleted)"
"""What stands for a person who was deleted."""


def without(value: Any, address: str) -> Any:
    """The same JSON with the address in none of its strings, whatever their case; a longer one that ends or begins
    like it stays."""
    return _without(value, re.compile(rf"(?<![\w.+-]){re.escape(address)}(?!\w|[.-]\w)", re.IGNORECASE))


def _without(value: Any, address: re.Pattern[str]) -> Any:
    if isinstance(value, dict):
        return {name: _without(inner, address) for name, inner in value.items()}
    if isinstance(value, list):
        return [_without(inner, address) for inner in value]
    return SOMEBODY if isinstance(value, str) and address.search(value) else value


def as_kept(text: str) -> str:
    """How `text` stands in kept JSON, to be looked for there."""
    return json.dumps(text)[1:-1]
