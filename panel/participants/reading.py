"""A CSV file of people, read line by line: who is in it, and which lines cannot be used and why.

A file whose shape is in doubt is refused as a whole (Unreadable), since whatever was made of it would be a guess; a
line that is wrong by itself is set aside with its reason. Nothing is looked up: that is the importing's affair.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import BinaryIO, Final

from panel import spreadsheet
from panel.message.addresses import InvalidAddress, InvalidHeaderText, Normaliser, check_header_text

MOST_PEOPLE: Final = 100_000
MOST_OCTETS: Final = 10_000_000
LONGEST_NAME: Final = 100
_LONGEST_LINE: Final = 100_000
_MOST_COLUMNS: Final = 500
_SEPARATORS: Final = ",;\t"
SAMPLE: Final = "email,first name,last name\nrobin@example.com,Robin,Meyer\ncharlie@example.com,Charlie,Okafor\n"

FIELDS: Final = {"email": "email address", "first_name": "first name", "last_name": "last name", "name": "whole name"}
# By their letters and digits alone, in lower case.
_CALLED: Final = {
    "email": ("email", "emailaddress", "mail", "mailaddress", "emails", "contactemail"),
    "first_name": ("firstname", "first", "givenname", "forename", "fname", "firstnames"),
    "last_name": ("lastname", "last", "surname", "familyname", "lname", "secondname"),
    "name": ("name", "fullname", "displayname", "contactname"),
}
_FIELD_OF: Final = {called: name for name, some in _CALLED.items() for called in some}
_SAVE_AS: Final = (
    "Save it as UTF-8 and choose it again: in Excel “Save As”, “CSV UTF-8 (Comma delimited)”; in LibreOffice "
    "“Save As”, “Text CSV”, character set “Unicode (UTF-8)”; Google Sheets does so by itself."
)


class Unreadable(ValueError):
    """The file cannot be read as it is; the text says where, why, and the way out."""


class _LongLine(Exception):
    """A line longer than any with people in it."""


@dataclass(frozen=True, slots=True)
class Bad:
    """A line that cannot be used."""

    line: int
    reason: str
    cells: list[str]


@dataclass(slots=True)
class Sheet:
    """What a file holds. `people` are (normalised address, first name, last name), each address once."""

    header: list[str] = field(default_factory=list)
    columns: dict[str, int] = field(default_factory=dict)
    people: list[tuple[str, str, str]] = field(default_factory=list)
    bad: list[Bad] = field(default_factory=list)
    repeated: int = 0

    @property
    def ignored(self) -> list[str]:
        """Columns that nothing is made of."""
        used = set(self.columns.values())
        return [name for place, name in enumerate(self.header) if name and place not in used]


class _Lines:
    """The lines of a text, counted; `begun` is the one in which the record at hand begins."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines = iter(lines)
        self.count = 0
        self.begun: str | None = None

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        self.count += 1
        if self.begun is None:
            self.begun = line
        if len(line) > _LONGEST_LINE:
            raise _LongLine(line)
        return line


def read(file: BinaryIO) -> Sheet:
    """Reads a file from its beginning. Raises Unreadable."""
    start = file.read(4)
    file.seek(0)
    if not start:
        raise Unreadable("The file is empty.")
    encoding = "utf-16" if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    text = io.TextIOWrapper(file, encoding=encoding, newline="")
    try:
        return _read(text)
    except UnicodeError:
        raise Unreadable(_not_in(encoding, file)) from None
    finally:
        text.detach()


def _not_in(encoding: str, file: BinaryIO) -> str:
    file.seek(0)
    octets = file.read()
    try:
        octets.decode(encoding)
    except UnicodeDecodeError as error:
        octets = octets[: error.start]
    before = octets.decode(encoding, errors="ignore")
    line = len(re.findall(r"\r\n|\r|\n", before)) + 1
    called = "UTF-16" if encoding == "utf-16" else "UTF-8"
    return f"Line {line:,} holds letters that are not {called}, so names would come in garbled. {_SAVE_AS}"


def _read(text: Iterable[str]) -> Sheet:
    lines = iter(text)
    skipped, first = 0, ""
    for first in lines:
        if first.strip():
            break
        skipped += 1
    if len(first) > _LONGEST_LINE:
        raise Unreadable(f"The first line goes on for {len(first):,} characters. It has to name the columns.")
    if "\0" in first:
        raise Unreadable(f"The file holds NUL characters, as UTF-16 does where its mark is missing. {_SAVE_AS}")
    separator = _separator(first)
    numbered = _Lines(chain([first], lines))
    numbered.count = skipped
    reader = csv.reader(numbered, delimiter=separator, strict=True, skipinitialspace=True)
    return _Reading(numbered, reader, separator).go()


def _separator(first: str) -> str:
    """What separates the columns: that with which most of the first line makes sense."""

    def known(separator: str) -> tuple[int, int]:
        names = next(csv.reader([first], delimiter=separator, skipinitialspace=True), [])
        return sum(_field(name) is not None for name in names), len(names)

    return max(_SEPARATORS, key=known)


def _field(name: str) -> str | None:
    return _FIELD_OF.get(re.sub(r"[\W_]", "", name.casefold()))


def _where(line: int, column: str | None = None) -> str:
    return f"Line {line:,}, column “{column}”," if column else f"Line {line:,}"


class _Reading:
    """One file on its way."""

    def __init__(self, lines: _Lines, reader: Iterator[list[str]], separator: str) -> None:
        self._lines = lines
        self._reader = reader
        self._separator = separator
        self._normalise = Normaliser()
        self._seen: set[str] = set()
        self._sheet = Sheet()

    def go(self) -> Sheet:
        sheet = self._sheet
        for number, cells in self._records():
            if not sheet.header:
                self._head(cells)
                continue
            self._check_count(number)
            self._take(number, cells)
        if not sheet.header:
            raise Unreadable("The file is empty.")
        if not sheet.people and not sheet.bad:
            raise Unreadable("The file names its columns and holds nobody: below the first line is nothing.")
        return sheet

    def _check_count(self, number: int) -> None:
        """Before one more is kept, whether it can be used or not."""
        sheet = self._sheet
        if len(sheet.people) + len(sheet.bad) + sheet.repeated >= MOST_PEOPLE:
            raise Unreadable(
                f"The file holds more than {MOST_PEOPLE:,} people: number {MOST_PEOPLE + 1:,} is in line "
                f"{number:,}. Split it and import the parts one after the other."
            )

    def _records(self) -> Iterator[tuple[int, list[str]]]:
        """Each record that holds anything, with the line in which it begins."""
        while True:
            number, self._lines.begun = self._lines.count + 1, None
            try:
                cells = next(self._reader)
            except StopIteration:
                return
            except _LongLine as long:
                raise Unreadable(self._too_long(long.args[0])) from None
            except csv.Error:
                self._broken(number)
                continue
            if any(cells):
                # The lines to be mended were handed out as CSV for spreadsheets, and come back so.
                yield number, [spreadsheet.plain(cell) for cell in cells]

    def _too_long(self, line: str) -> str:
        where = _where(self._lines.count, self._last_column(line[:_LONGEST_LINE]))
        return (
            f"{where} goes on for {len(line):,} characters; a line with a person has at most {_LONGEST_LINE:,}. "
            "Shorten it or take it out."
        )

    def _broken(self, number: int) -> None:
        begun = self._lines.begun or ""
        column = self._last_column(begun)
        if self._lines.count > number or _is_open(begun, self._separator):
            raise Unreadable(
                f"{_where(number, column)} begins with a quotation mark that is not closed where the field ends. Close "
                "it, or, if it belongs to the text, write it twice and put the whole field in quotation marks."
            )
        reason = "A quotation mark stands within a field that is in quotation marks. Write it twice."
        if not self._sheet.header:
            raise Unreadable(f"{_where(number)}: {reason[0].lower()}{reason[1:]}")
        self._check_count(number)
        self._sheet.bad.append(Bad(number, reason, [begun.rstrip("\r\n")]))

    def _last_column(self, begun: str) -> str | None:
        """The column in which a line ends."""
        # A field longer than csv takes is cut where it is still one.
        cells = next(csv.reader([begun[:_LONGEST_LINE]], delimiter=self._separator, skipinitialspace=True), [])
        names = self._sheet.header
        return names[len(cells) - 1] if 0 < len(cells) <= len(names) else None

    def _head(self, cells: list[str]) -> None:
        names = [cell.strip() for cell in cells]
        if len(names) > _MOST_COLUMNS:
            raise Unreadable(f"The first line names more than {_MOST_COLUMNS} columns.")
        found: dict[str, int] = {}
        for place, name in enumerate(names):
            known = _field(name)
            if known in found:
                raise Unreadable(
                    f"Columns {found[known] + 1} and {place + 1} (“{names[found[known]]}” and “{name}”) are both the "
                    f"{FIELDS[known]}. Rename or remove one of them in line {self._lines.count:,}."
                )
            if known is not None:
                found[known] = place
        if "email" not in found:
            raise Unreadable(_no_email(names, self._lines.count))
        self._sheet.header, self._sheet.columns = names, found

    def _take(self, number: int, cells: list[str]) -> None:
        try:
            email, first, last = self._person(cells)
        except ValueError as problem:
            # One more than there should be tells that there are too many; a line of commas need not be kept.
            self._sheet.bad.append(Bad(number, str(problem), cells[: len(self._sheet.header) + 1]))
            return
        if email in self._seen:
            self._sheet.repeated += 1
            return
        self._seen.add(email)
        self._sheet.people.append((email, first, last))

    def _person(self, cells: list[str]) -> tuple[str, str, str]:
        """Raises ValueError with the reason."""
        header, columns = self._sheet.header, self._sheet.columns
        if len(cells) < len(header) or any(cells[len(header) :]):
            fields = "1 field" if len(cells) == 1 else f"{len(cells):,} fields"
            raise ValueError(
                f"Has {fields} where the first line names {len(header):,} columns. A field that holds the separator "
                "itself has to be in quotation marks."
            )
        for name, cell in zip(header, cells, strict=False):
            if "\0" in cell:
                raise ValueError(f"“{name}” holds a NUL character. Remove it.")
        first, last = self._names(cells)
        place = columns["email"]
        given = cells[place].strip()
        if not given:
            raise ValueError(f"“{header[place]}” is empty.")
        try:
            return self._normalise(given), first, last
        except InvalidAddress as problem:
            raise ValueError(f"“{header[place]}”: {problem}") from None

    def _names(self, cells: list[str]) -> tuple[str, str]:
        columns = self._sheet.columns
        whole = self._cell(cells, "name", 2 * LONGEST_NAME) if "name" in columns else ""
        first = self._cell(cells, "first_name") if "first_name" in columns else ""
        last = self._cell(cells, "last_name") if "last_name" in columns else ""
        if whole and not first and not last:
            first, _, last = whole.partition(" ")
            if max(len(first), len(last)) > LONGEST_NAME:
                raise ValueError(f"“{self._sheet.header[columns['name']]}” is too long for a first and a last name.")
        return first, last.strip()

    def _cell(self, cells: list[str], name: str, most: int = LONGEST_NAME) -> str:
        place = self._sheet.columns[name]
        cell = cells[place].strip()
        if cell.isprintable() and len(cell) <= most:
            return cell
        try:
            return check_header_text(cell, what=f"“{self._sheet.header[place]}”", most=most)
        except InvalidHeaderText as problem:
            raise ValueError(str(problem)) from None


def _is_open(begun: str, separator: str) -> bool:
    """Whether a line ends within quotation marks, as one that is the last of its file may."""
    try:
        next(csv.reader([begun.rstrip("\r\n")], delimiter=separator, strict=True, skipinitialspace=True), None)
    except csv.Error as error:
        return "unexpected end" in str(error)
    return False


def _no_email(names: list[str], line: int) -> str:
    told = ", ".join(f"“{name[:40]}”" for name in names[:8] if name) or "nothing"
    if any("@" in name for name in names):
        return (
            f"Line {line:,} holds an address where the names of the columns belong. Put a line above it: "
            "email,first name,last name."
        )
    return f"No column is called “email”: line {line:,} names {told}. Rename the one with the addresses to “email”."
