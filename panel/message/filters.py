"""The filters of merge tags. None of them ever fails on a value: what it cannot change it returns as it is."""

import re
from collections.abc import Callable
from datetime import date
from typing import Final
from urllib.parse import quote

from liquid.exceptions import FilterArgumentError

_DATE_DIRECTIVE = re.compile(r"%(-?)([aAbBdeHIjmMpyY%])")
_SAFE_LINK = re.compile(r"(?:https?://|mailto:)[^\s<>\"]+", re.IGNORECASE)
_MAX_TRUNCATE = 1_000


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _default(value: object, fallback: object = "") -> str:
    return _text(value) or _text(fallback)


def _escape(value: object) -> str:
    # Values are escaped by themselves where they are put into HTML, and must not be in plain text.
    return _text(value)


def _truncate(value: object, length: object = 50, end: object = "…") -> str:
    if not isinstance(length, int) or not isinstance(end, str) or not 0 < length <= _MAX_TRUNCATE:
        raise FilterArgumentError(f"truncate takes a length from 1 to {_MAX_TRUNCATE}", token=None)
    text = _text(value)
    return text if len(text) <= length else text[: max(length - len(end), 0)] + end


def _date(value: object, format_: object = "%-d %B %Y") -> str:
    """Write an ISO 8601 date in the directives of strftime that every platform knows, and `%-d` without the zero."""
    if not isinstance(format_, str):
        raise FilterArgumentError('date takes a format such as "%-d %B %Y"', token=None)
    text = _text(value)
    try:
        day = date.fromisoformat(text[:10])
    except ValueError:
        return text

    def written(directive: re.Match[str]) -> str:
        result = day.strftime(f"%{directive[2]}").strip()
        return result.lstrip("0") if directive[1] else result

    return _DATE_DIRECTIVE.sub(written, format_)


def _url_encode(value: object) -> str:
    return quote(_text(value), safe="")


def _mailto_encode(value: object) -> str:
    # RFC 6068 §2 wants the at sign of an address as it is.
    return quote(_text(value), safe="@")


def safe_link(value: object) -> str:
    """A link that a letter may open: `javascript:` and its like become a link that goes nowhere."""
    text = _text(value).strip()
    return text if _SAFE_LINK.fullmatch(text) else "#"


FILTERS: Final[dict[str, Callable[..., str]]] = {
    "default": _default,
    "escape": _escape,
    "upcase": lambda value: _text(value).upper(),
    "downcase": lambda value: _text(value).lower(),
    "capitalize": lambda value: _text(value)[:1].upper() + _text(value)[1:],
    "strip": lambda value: _text(value).strip(),
    "truncate": _truncate,
    "date": _date,
    "url_encode": _url_encode,
}

# Put in by cleaning, never written by people.
INTERNAL_FILTERS: Final[dict[str, Callable[..., str]]] = {"link": safe_link, "mailto_encode": _mailto_encode}
