"""Taking a deleted person's address out of kept JSON."""

from __future__ import annotations

import json
from typing import Any, Final

SOMEBODY: Final = "(deleted)"
"""What stands for a person who was deleted."""


def without(value: Any, text: str) -> Any:
    """The same JSON with `text` in none of its strings, whatever their case."""
    if isinstance(value, dict):
        return {name: without(inner, text) for name, inner in value.items()}
    if isinstance(value, list):
        return [without(inner, text) for inner in value]
    return SOMEBODY if isinstance(value, str) and text.lower() in value.lower() else value


def as_kept(text: str) -> str:
    """How `text` stands in kept JSON, to be looked for there."""
    return json.dumps(text)[1:-1]
