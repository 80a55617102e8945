"""Where a body offers the way out of its letters: a link to the unsubscribe page that whoever reads the letter sees.

A letter without one gets a footer. That the address occurs somewhere is not enough: it may stand in a hidden
element, in the words for an image, or around nothing. In doubt there is no link, and the letter gets its footer.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape, unescape
from typing import Final

from panel.message import visible
from panel.message.checking import Mark, scan

# Cleaned HTML is written in one way: names in lower case, values in quotes, `"` and `<` in them as references.
_TOKEN = re.compile(r'<(/?)([a-z][a-z0-9]*)((?: [a-z-]+="[^"]*")*)>|([^<]+)')
_ATTRIBUTE = re.compile(r' ([a-z-]+)="([^"]*)"')
_STAND_IN = re.compile("\0(\\d+)\1")
_IS_LINK = re.compile(r"\{\{-?\s*unsubscribe_url\s*[|}-]")
_NAME: Final = "unsubscribe_url"
_VOID: Final = {"br", "hr", "img", "col"}
_STARTS: Final = {"if", "unless"}

# Fewer letters are easily overlooked.
_LEAST_LETTERS: Final = 2
# What may stand before and after an address in a text, so that it is the address and no part of another.
_BEFORE = re.compile(rb"[\w/=?&%#.@+~:-]")
_AFTER = re.compile(rb"""[.,;:!?)\]}>'"]{0,3}(?:[ \t\r\n\0]|$)""")


def is_in_html(html: str, link: str) -> bool:
    """Whether a filled-in body, which `told_apart` was made of, has the link where it is seen."""
    return opening(link) in html


def opening(link: str) -> str:
    """How the start tag of a link to it begins in HTML."""
    return f'<a href="{escape(link)}"'


def is_in_text(octets: bytes, link: str) -> bool:
    """Whether a text has the link as a word of its own."""
    wanted = link.encode()
    position = octets.find(wanted)
    while position >= 0:
        end = position + len(wanted)
        if not _BEFORE.match(octets[max(position - 1, 0) : position]) and _AFTER.match(octets[end : end + 4]):
            return True
        position = octets.find(wanted, end)
    return False


def told_apart(html: str) -> str:
    """The same body, with its links to the unsubscribe page told apart: those that are seen begin `<a href="`.

    The others get a blank more there, which changes nothing of how they look. So each of thousands of letters is looked
    through for a few characters only.
    """
    if _NAME not in html:
        return html
    marks, faults = scan(html)
    source = _with_stand_ins(html, marks)
    seen = {} if faults else {link.start: link for link in _Reader(source, marks).links()}
    pieces: list[str] = []
    position = 0
    for found in _TOKEN.finditer(source):
        if (
            found[2] != "a"
            or found[1]
            or not any(_NAME in marks[int(number)].text for number in _STAND_IN.findall(found[3]))
        ):
            continue
        attributes = [f' {name}="{value}"' for name, value in _ATTRIBUTE.findall(found[3])]
        first = [one for one in attributes if one.startswith(" href=")]
        others = [one for one in attributes if not one.startswith(" href=")]
        blank = "" if found.start() in seen else " "
        pieces += [source[position : found.start()], "<a", blank, *first, *others, ">"]
        position = found.end()
    return _STAND_IN.sub(lambda mark: marks[int(mark[1])].text, "".join(pieces) + source[position:])


def _with_stand_ins(html: str, marks: list[Mark]) -> str:
    """The HTML with a number for each mark, as quotes and `<` may stand in marks."""
    pieces: list[str] = []
    position = 0
    for number, mark in enumerate(marks):
        pieces += [html[position : mark.start], f"\0{number}\1"]
        position = mark.end
    return "".join(pieces) + html[position:]


@dataclass(slots=True)
class _Element:
    """An element that is open: how words look in it, and the conditions under which its start tag is there."""

    start: int
    name: str
    look: visible.Look | None
    conditions: tuple[int, ...]
    is_link: bool
    letters: int = 0


class _Reader:
    """Reads one body, element by element."""

    def __init__(self, source: str, marks: list[Mark]) -> None:
        self._source = source
        self._marks = marks
        self._open: list[_Element] = []
        self._conditions: tuple[int, ...] = ()

    def links(self) -> list[_Element]:
        """The links that are seen. None where it cannot be told which element stands in which or lies over which."""
        found: list[_Element] = []
        position = 0
        for token in _TOKEN.finditer(self._source):
            if token.start() != position:
                return []
            position = token.end()
            if token[4] is not None:
                self._read_words(token[4])
            elif not token[1]:
                attributes = {name: unescape(value) for name, value in _ATTRIBUTE.findall(token[3])}
                if visible.may_cover(attributes.get("style", "")):
                    return []
                self._start(token, attributes)
            else:
                ended = self._end(token[2])
                if ended is None:
                    return []
                if ended.is_link and ended.letters >= _LEAST_LETTERS:
                    found.append(ended)
        return found if position == len(self._source) and not self._open else []

    def _start(self, token: re.Match[str], attributes: dict[str, str]) -> None:
        if token[2] in _VOID:
            return
        look = visible.within(self._open[-1].look if self._open else visible.Look(), token[2], attributes)
        is_link = token[2] == "a" and self._leads_out(attributes.get("href", ""))
        self._open.append(_Element(token.start(), token[2], look, self._conditions, is_link))

    def _leads_out(self, href: str) -> bool:
        mark = _STAND_IN.fullmatch(href)
        return mark is not None and _IS_LINK.match(self._marks[int(mark[1])].text) is not None

    def _end(self, name: str) -> _Element | None:
        """The element that ends; None where that depends on a condition that its beginning does not depend on."""
        if not self._open or self._open[-1].name != name or self._open[-1].conditions != self._conditions:
            return None
        return self._open.pop()

    def _read_words(self, words: str) -> None:
        for number, text in self._pieces(words):
            if number is not None:
                self._meet(number)
            elif self._open and (look := self._open[-1].look) and look.is_readable:
                letters = visible.letters(unescape(text))
                for element in self._open:
                    # What a condition could leave out is no word to rely on.
                    if element.conditions == self._conditions:
                        element.letters += letters

    @staticmethod
    def _pieces(words: str) -> Iterator[tuple[int | None, str]]:
        position = 0
        for mark in _STAND_IN.finditer(words):
            yield None, words[position : mark.start()]
            yield int(mark[1]), ""
            position = mark.end()
        yield None, words[position:]

    def _meet(self, number: int) -> None:
        word = self._marks[number].word
        if word in _STARTS:
            self._conditions += (number,)
        elif word in ("else", "elsif"):
            self._conditions = (*self._conditions[:-1], number)
        elif word is not None:
            self._conditions = self._conditions[:-1]
