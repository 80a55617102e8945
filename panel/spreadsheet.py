"""CSV for spreadsheets: nothing in it is taken for a formula, and its letters come out right."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Final

MARK: Final = b"\xef\xbb\xbf"
"""The byte order mark, with which a file begins: without it spreadsheets take it for another encoding."""

# What a spreadsheet takes for the beginning of a formula.
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n")


def rows(some: Iterable[Sequence[str]]) -> bytes:
    """Lines of CSV."""
    text = io.StringIO()
    csv.writer(text).writerows([_safe(cell) for cell in row] for row in some)
    return text.getvalue().encode(errors="replace")


def _safe(cell: str) -> str:
    return f"'{cell}" if cell.startswith(_FORMULA) else cell


def plain(cell: str) -> str:
    """What a cell said before `rows` made it safe."""
    return cell[1:] if cell.startswith("'") and cell.startswith(_FORMULA, 1) else cell
