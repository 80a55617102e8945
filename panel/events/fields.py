"""Reads the members of a JSON object one by one and collects what is wrong with each, so that all can be told."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from panel.events.problems import Faults
from panel.message.addresses import InvalidAddress, InvalidHeaderText, check_header_text, normalise

T = TypeVar("T")

# A time outside of these is a slip of the clock or of the unit, and some would not fit a database.
_EARLIEST: Final = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)
_LATEST: Final = dt.datetime(2100, 1, 1, tzinfo=dt.UTC)
# Of a member that nobody knows, as far as it is told. Each character may become twelve octets of JSON.
_LONGEST_NAME: Final = 50

_TIME: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


class Fields:
    """The members of one object. `path` is its JSON pointer; what is wrong goes into `faults`."""

    def __init__(self, members: Mapping[str, Any], path: str, faults: Faults) -> None:
        self._members = members
        self._path = path
        self._faults = faults

    def __contains__(self, name: str) -> bool:
        return self._members.get(name) is not None

    def fault(self, name: str, detail: str) -> None:
        """Notes what is wrong with a member. The name may be the caller's own, hence the escapes of RFC 6901 §3."""
        escaped = name[:_LONGEST_NAME].replace("~", "~0").replace("/", "~1")
        self._faults.add(f"{self._path}/{escaped}", detail)

    def only(self, known: frozenset[str], *, about: str) -> Fields:
        """The known members; every other one is a fault."""
        for name in sorted(self._members.keys() - known):
            self.fault(name, f"{about} takes no `{name[:_LONGEST_NAME]}`.")
        return Fields({name: self._members[name] for name in self._members.keys() & known}, self._path, self._faults)

    def read(self, name: str, parse: Callable[[Any], T], *, required: bool = False) -> T | None:
        """The parsed member; None when it is absent, null or wrong. `parse` raises ValueError with what is wrong."""
        value = self._members.get(name)
        if value is None:
            if required:
                self.fault(name, f"`{name}` is missing.")
            return None
        try:
            return parse(value)
        except ValueError as error:
            self.fault(name, str(error))
            return None

    def inner(self, name: str, known: frozenset[str], *, required: bool = False) -> Fields | None:
        """The members of an object inside, of which only `known` ones are taken; None when there is none."""
        members = self.read(name, _object, required=required)
        if members is None:
            return None
        return Fields(members, f"{self._path}/{name}", self._faults).only(known, about=f"`{name}`")


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("This must be a JSON object.")
    return value


def _string(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("This must be a string.")
    return value


def text(most: int, *, least: int = 0) -> Callable[[Any], str]:
    """Reads one line of text with `least` to `most` characters, without the blanks around it."""

    def parse(value: Any) -> str:
        given = _string(value)
        if len(given) > most:
            raise ValueError(f"At most {most} characters fit; this has {len(given)}.")
        try:
            line = check_header_text(given, what="This text")
        except InvalidHeaderText as error:
            raise ValueError(str(error)) from None
        if len(line) < least:
            raise ValueError("This must not be empty.")
        return line

    return parse


def address(value: Any) -> str:
    """Reads an email address and returns its normalised form."""
    try:
        # No address is longer (RFC 5321 §4.5.3.1); a whole book need not be looked through to say so.
        return normalise(_string(value)[:1000])
    except InvalidAddress as error:
        raise ValueError(str(error)) from None


def flag(value: Any) -> bool:
    """Reads true or false."""
    if not isinstance(value, bool):
        raise ValueError("This must be true or false.")
    return value


def one_of(*allowed: str) -> Callable[[Any], str]:
    """Reads one of a few words."""

    def parse(value: Any) -> str:
        if not isinstance(value, str) or value not in allowed:
            raise ValueError(f"This must be one of: {', '.join(allowed)}.")
        return value

    return parse


def time(value: Any) -> dt.datetime:
    """Reads a time with its zone (RFC 3339 §5.6)."""
    if not _TIME.fullmatch(_string(value)):
        raise ValueError("This must be a time with its zone (RFC 3339), such as 2026-11-23T10:00:00Z.")
    try:
        found = dt.datetime.fromisoformat(value.upper()).astimezone(dt.UTC)
    except (ValueError, OverflowError):
        raise ValueError("There is no such time.") from None
    if not _EARLIEST <= found < _LATEST:
        raise ValueError("The year must be between 2000 and 2099.")
    return found


def date(value: Any) -> str:
    """Reads a calendar date (RFC 3339's full-date)."""
    if not _DATE.fullmatch(_string(value)):
        raise ValueError("This must be a date, such as 2027-01-31.")
    try:
        return dt.date.fromisoformat(value).isoformat()
    except ValueError:
        raise ValueError("There is no such date.") from None
