"""From the HTML that a person wrote to HTML and text that can be mailed: done once, when a notification is saved.

Merge tags and conditions are first replaced by stand-ins that HTML parsers keep where they are: a word for a tag, a
comment for a condition. Then the style sheet is written into the elements, everything that is not on the lists below
is removed, and the tags are put back. A tag that did not survive is an error, never a silent loss.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import css_inline
import nh3
from inscriptis import get_text
from inscriptis.css_profiles import CSS_PROFILES
from inscriptis.model.config import ParserConfig

from panel.message.allowed import ATTRIBUTES, REMOVED_WITH_CONTENT, SCHEMES, TAGS
from panel.message.checking import Fault, scan
from panel.message.standins import StandIns

# What parsing may cost: cleaning one letter stays well under 200 ms, and the depth keeps native parsers, some of
# which recurse, far from the end of their stack (css-inline crashes the process on tens of thousands of levels).
MAX_SOURCE: Final = 100_000
MAX_ELEMENTS: Final = 1_000
MAX_STYLE: Final = 20_000
MAX_STYLE_WORK: Final = 2_500_000
MAX_DEPTH: Final = 100
MAX_CLEANED: Final = 400_000

_TOO_LONG: Final = (
    f"Put in order, with its styles written into its elements, the body exceeds {MAX_CLEANED:,} characters."
)

_START_TAG = re.compile(r"<[A-Za-z]")
_CLEAN_TAG = re.compile(r"<(/?)([a-z][a-z0-9]*)[^>]*>")
_CLEAN_LINK = re.compile(r'<a\b[^>]*?\shref="([^"]*)"[^>]*>(.*?)</a>', re.DOTALL)
_CLEAN_TABLE = re.compile(r"<(/?)(?:table|caption|thead|tbody|tfoot|tr|td|th)\b[^>]*>")
_BODY = re.compile(r"<body\b([^<>]*)>", re.IGNORECASE)
_VOID: Final = {"br", "hr", "img", "col"}
_INLINER: Final = css_inline.CSSInliner(load_remote_stylesheets=False)
_TEXT_CONFIG: Final = ParserConfig(css=CSS_PROFILES["strict"])


@dataclass(frozen=True, slots=True)
class Cleaned:
    """HTML that can be mailed, and the text made of it; both still hold their merge tags and conditions."""

    html: str
    text: str


class CannotClean(Exception):
    """The HTML cannot be mailed as it is; `faults` says what to change."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__("; ".join(fault.message for fault in faults))
        self.faults = list(faults)


def clean(source: str) -> Cleaned:
    """Clean a source that `checking.check` found nothing wrong with. Raises CannotClean."""
    _refuse(len(source) > MAX_SOURCE, f"The body is longer than {MAX_SOURCE:,} characters.")
    _refuse(
        len(_START_TAG.findall(source)) > MAX_ELEMENTS, f"The body is made of more than {MAX_ELEMENTS:,} HTML elements."
    )
    marks, _ = scan(source)
    stand_ins = StandIns(source, marks)
    styled = _with_styles_inlined(stand_ins.put_in(), stand_ins)
    html = stand_ins.only_ours(stand_ins.cleaner().clean(styled))
    _refuse(len(html) > MAX_CLEANED, _TOO_LONG)
    if faults := stand_ins.faults(html):
        raise CannotClean(faults)
    text = _text_of(html, stand_ins)
    _refuse(not text.strip() and "<img" not in html, "Nothing of the body can be mailed.")
    return Cleaned(html=stand_ins.put_back_html(html), text=stand_ins.put_back_text(text))


def _refuse(condition: bool, message: str) -> None:
    if condition:
        raise CannotClean([Fault(1, "", message)])


def _with_styles_inlined(html: str, stand_ins: StandIns) -> str:
    """Write the source's style sheets into the elements, as many mail programs drop style sheets."""
    html, style = _without_styles(_without_comments(html, stand_ins.prefix))
    body = _BODY.search(html)
    # nh3's output is regular, so that the depth and number of elements that css-inline will meet can be counted.
    html = nh3.clean(
        html,
        tags=TAGS,
        clean_content_tags=REMOVED_WITH_CONTENT,
        attributes={**ATTRIBUTES, "*": ATTRIBUTES["*"] | {"class", "id"}},
        strip_comments=False,
        link_rel=None,
        url_schemes=SCHEMES,
    )
    _refuse(len(html) > MAX_CLEANED, _TOO_LONG)
    count, depth = _count_and_depth(html)
    _refuse(depth > MAX_DEPTH, f"HTML elements stand in one another more than {MAX_DEPTH} deep.")
    _refuse(
        len(style) > MAX_STYLE or len(style) * count > MAX_STYLE_WORK,
        "The style sheet is too long for this many HTML elements.",
    )
    if not style and not body:
        return html
    attributes = body[1] if body else ""
    try:
        page = _INLINER.inline(f"<html><head><style>{style}</style></head><body{attributes}>{html}</body></html>")
    except css_inline.InlineError as error:
        raise CannotClean([Fault(1, "", f"The style sheet cannot be understood: {error}.")]) from error
    # A letter is put into a page of its own later: what was said of the body holds for a division inside it.
    page = page[page.index("<body") :].removesuffix("</body></html>")
    return page.removeprefix("<body>") if page.startswith("<body>") else f"<div{page.removeprefix('<body')}</div>"


def _without_comments(html: str, kept: str) -> str:
    """Remove comments, but those that begin with `kept`: a style sheet inside one is not in force."""
    pieces: list[str] = []
    position = 0
    while (start := html.find("<!--", position)) >= 0 and (end := html.find("-->", start + 4)) >= 0:
        pieces.append(html[position : end + 3] if html.startswith(kept, start) else html[position:start])
        position = end + 3
    return "".join(pieces) + html[position:]


def _without_styles(html: str) -> tuple[str, str]:
    """Take the style sheets out of a page; unclosed ones are left for cleaning to remove."""
    pieces: list[str] = []
    styles: list[str] = []
    position = 0
    lower = html.lower()
    while (start := lower.find("<style", position)) >= 0 and (end := lower.find("</style", start)) >= 0:
        inner = html.find(">", start) + 1
        pieces.append(html[position:start])
        styles.append(html[inner:end] if 0 < inner <= end else "")
        position = max(html.find(">", end) + 1, end + len("</style"))
    return "".join(pieces) + html[position:], "\n".join(styles).strip()


def _count_and_depth(html: str) -> tuple[int, int]:
    """How many elements cleaned HTML has, and how deep they stand in one another."""
    count = depth = deepest = 0
    for closing, name in _CLEAN_TAG.findall(html):
        if closing:
            depth -= 1
        else:
            count += 1
            if name not in _VOID:
                depth += 1
                deepest = max(deepest, depth)
    return count, deepest


def _text_of(html: str, stand_ins: StandIns) -> str:
    """The text part: links as `words <link>`, tables line by line, as letters use them for layout."""
    html = stand_ins.conditions_as_words(html)
    html = _CLEAN_TABLE.sub(r"<\1div>", html)
    html = _CLEAN_LINK.sub(lambda link: _link_as_text(link[1], link[2], stand_ins), html)
    text = get_text(f"<html><body>{html}</body></html>", _TEXT_CONFIG)
    lines = [line.strip() for line in text.split("\n")]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip() + "\n"


def _link_as_text(href: str, inner: str, stand_ins: StandIns) -> str:
    target = href.removeprefix("mailto:").removeprefix("tel:")
    words = stand_ins.plain(re.sub(r"<[^>]*>", "", inner).strip())
    is_said = words in {"", stand_ins.plain(target), stand_ins.plain(href)}
    return inner if is_said else f"{inner} &lt;{target}&gt;"
