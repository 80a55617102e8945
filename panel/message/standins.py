"""Stand-ins for merge tags and conditions while HTML is parsed and cleaned.

An HTML parser moves, drops and re-writes what it does not expect. A merge tag becomes a plain word and a condition a
comment, which stay where they are, in tables too; afterwards each must be there again, where it may be, in its order.
"""

import re
import secrets
from collections.abc import Sequence

import nh3

from panel.message.allowed import ATTRIBUTES, REMOVED_WITH_CONTENT, SCHEMES, STYLES, TAGS, URL_ATTRIBUTES
from panel.message.checking import Fault, Mark, line_of

_HAS_SCHEME = re.compile(rf"(?:{'|'.join(SCHEMES)}):", re.IGNORECASE)


# What old mail programs run, and what could spell it out in a way that only they decode.
_ACTING_STYLE = re.compile(r"\\|expression\s*\(|(?:java|vb)script:|@import|<", re.IGNORECASE)
_STYLE_COMMENT = re.compile(r"/\*.*?(?:\*/|$)", re.DOTALL)
_STYLE_URL = re.compile(r"url\s*\((?!\s*['\"]?\s*https?://)", re.IGNORECASE)


def _is_harmless(style: str) -> bool:
    """Whether a style fetches nothing but images of the web, and runs nothing."""
    style = _STYLE_COMMENT.sub("", style)
    return not _ACTING_STYLE.search(style) and not _STYLE_URL.search(style)


def escape_braces(html: str) -> str:
    """Write braces as character references, so that nothing in cleaned HTML can be read as a merge tag."""
    return html.replace("{", "&#123;")


# A tag that begins a link is the link; further on it is a part of one, and of a web address or a mail address.
_FILTERS_IN_LINKS = {"l": "link", "u": "url_encode", "m": "mailto_encode"}
# The filter that comes last, and no word of another one's text, such as `default: "url_encode"`.
_ENDS_ENCODED = re.compile(r"\|\s*url_encode\s*-?\}\}$")
_LOST = "This would be lost: it stands inside an HTML tag, a comment, or an element that letters cannot have."


class StandIns:
    """The stand-ins of one source: a word nobody wrote, with the number of the mark it stands for."""

    def __init__(self, source: str, marks: Sequence[Mark]) -> None:
        self._source = source
        self._marks = marks
        # Random, as a source could otherwise spell out stand-ins by itself, with character references for example.
        self._word = f"mark{secrets.token_hex(8)}"
        self.prefix = f"<!--{self._word}"
        # The letter at the end says how the tag is put back: z plainly, or with the filter of `_FILTERS_IN_LINKS`.
        self._tag = re.compile(rf"{self._word}n(\d+)([zlum])")
        self._condition = re.compile(rf"<!--{self._word}c(\d+)z-->")
        self._condition_word = re.compile(rf"{self._word}c(\d+)z")
        self._other_comment = re.compile(rf"<!--(?!{self._word}c).*?-->", re.DOTALL)
        self._brace = re.compile(rf"\{{(?=[{{%]|{self._word})")
        self._misplaced: dict[int, str] = {}

    def put_in(self) -> str:
        """The source with a stand-in for every mark."""
        pieces: list[str] = []
        position = 0
        for number, mark in enumerate(self._marks):
            pieces.append(self._source[position : mark.start])
            pieces.append(f"{self._word}n{number}z" if mark.word is None else f"{self.prefix}c{number}z-->")
            position = mark.end
        pieces.append(self._source[position:])
        return "".join(pieces)

    def only_ours(self, html: str) -> str:
        """Remove the comments that people wrote: conditional ones would be read as HTML by old versions of Outlook."""
        return self._other_comment.sub("", html)

    def cleaner(self) -> nh3.Cleaner:
        """What removes all that a letter may not hold, and looks where the stand-ins are."""
        return nh3.Cleaner(
            tags=TAGS,
            clean_content_tags=REMOVED_WITH_CONTENT,
            attributes=ATTRIBUTES,
            attribute_filter=self._attribute,
            strip_comments=False,
            link_rel=None,
            url_schemes=SCHEMES,
            filter_style_properties=STYLES,
        )

    def _attribute(self, _tag: str, name: str, value: str) -> str | None:
        """Decide on one attribute. nh3 has checked the scheme of links already, and decoded the value."""
        for number in self._condition_word.findall(value):
            self._misplaced[int(number)] = "A condition cannot stand inside an HTML tag; put it around the element."
        if name == "style":
            for number, _ in self._tag.findall(value):
                self._misplaced[int(number)] = "A merge tag cannot stand in a style."
            return value if _is_harmless(value) else None
        if name not in URL_ATTRIBUTES:
            return value
        value = value.strip()
        leading = self._tag.match(value)
        if not leading and not _HAS_SCHEME.match(value):
            return None
        start = leading.end() if leading else 0
        head = f"{leading[0][:-1]}l" if leading else ""
        inside = "m" if value.lower().startswith("mailto:") else "u"
        return head + self._tag.sub(lambda tag: f"{tag[0][:-1]}{inside}", value[start:])

    def faults(self, html: str) -> list[Fault]:
        """Marks that did not survive, stand where they may not, or are not in their order any more."""
        tags = {int(number) for number, _ in self._tag.findall(html)}
        conditions = [int(number) for number in self._condition.findall(html)]
        messages = dict(self._misplaced)
        for number in range(len(self._marks)):
            if number not in tags and number not in conditions:
                messages.setdefault(number, _LOST)
        if not messages and conditions != sorted(set(conditions)):
            messages[conditions[0]] = "The HTML tears this condition apart; put it around whole elements."
        return [
            Fault(line_of(self._source, self._marks[number].start), self._marks[number].text, message)
            for number, message in sorted(messages.items())
        ]

    def put_back_html(self, html: str) -> str:
        """Put the marks back into cleaned HTML."""
        html = escape_braces(html)
        html = self._condition.sub(lambda found: self._marks[int(found[1])].text, html)
        return self._tag.sub(lambda found: _with_filter(self._marks[int(found[1])].text, found[2]), html)

    def put_back_text(self, text: str) -> str:
        """Put the marks back into plain text, where a brace can only be written as a literal."""
        text = self._brace.sub('{{ "{" }}', text)
        text = self._condition_word.sub(lambda found: self._marks[int(found[1])].text, text)
        # Only what stands inside a web address changes in plain text: nobody opens text as HTML.
        return self._tag.sub(
            lambda found: _with_filter(self._marks[int(found[1])].text, "u" if found[2] == "u" else "z"), text
        )

    def plain(self, html: str) -> str:
        """HTML with its tags as they were written, to compare two pieces whatever becomes of the tags in them."""
        return self._tag.sub(lambda found: self._marks[int(found[1])].text, html)

    def conditions_as_words(self, html: str) -> str:
        """The HTML with words for conditions, as a converter to text drops comments."""
        return self._condition.sub(lambda found: f"{self._word}c{found[1]}z", html)


def _with_filter(mark: str, how: str) -> str:
    """Add to a merge tag the filter that its place in a link asks for."""
    if how == "z" or (how in "um" and _ENDS_ENCODED.search(mark)):
        return mark
    inner = mark[2:-2]
    dash = "-" if inner.endswith("-") else ""
    return f"{{{{{inner.removesuffix('-').rstrip()} | {_FILTERS_IN_LINKS[how]} {dash}}}}}"
