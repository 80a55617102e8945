"""What surely hides no words: elements, attributes and properties of styles, with the values in which they do not.

Lists of what is known, not of what hides. Colours, sizes and edges are simple here, so that `visible` can reckon with
them: nothing relative, nothing computed, nothing that a mail program may not know and leave out.
"""

import re
from collections.abc import Mapping
from typing import Final

INLINE: Final = {"a", "span", "b", "strong", "i", "em", "u"}
_TABLE: Final = {"table", "thead", "tbody", "tfoot", "tr", "td", "th"}
_ELEMENTS: Final = INLINE | _TABLE | {"div", "p", "center", "header", "footer", "main", "h1", "h2", "h3", "h4"}

_COLOUR: Final = "#(?:[0-9a-f]{3}){1,2}|black|white"
_PX: Final = r"(?:[0-5]?\d(?:\.\d+)?|60)(?:px|pt)"
_LINE: Final = r"normal|[12](?:\.\d+)?|3|[1-6]\d(?:\.\d+)?(?:px|pt)|[12]\d\d%"
# Fonts of signs have other shapes for letters; words for the whole of CSS would make a font invalid.
_NO_FONT: Final = r"ding|symbol|marlett|ornament|assets|icon|mt extra|\b(?:inherit|initial|unset|revert|default)\b"
_NAME: Final = r""""[\w -]+"|'[\w -]+'|-?[a-z][a-z0-9-]*(?: [a-z][a-z0-9-]*)*"""
_FAMILY: Final = f"(?!.*(?:{_NO_FONT}))(?:{_NAME})(?: ?, ?(?:{_NAME}))*"
_BORDER: Final = f"none|solid|dashed|dotted|transparent|{_COLOUR}|0|{_PX}"
_SIDES: Final = ("", "-top", "-right", "-bottom", "-left")


def _patterns(patterns: Mapping[str, str]) -> dict[str, re.Pattern[str]]:
    # Only in ASCII do upper case and digits mean to CSS what they mean here.
    how = re.ASCII | re.IGNORECASE
    return {name: re.compile(pattern, how) for names, pattern in patterns.items() for name in names.split()}


_STYLES: Final = _patterns(
    {
        "color": _COLOUR,
        "background-color": f"transparent|{_COLOUR}",
        "background": f"none|transparent|(?:{_COLOUR})(?: none no-repeat center / cover)?",
        "background-image": "none",
        "background-repeat background-position background-size": "[a-z -]+",
        "border-radius": "[0-9px% ]+",
        "border-collapse": "collapse|separate",
        "border-spacing": f"(?:0|{_PX})(?: (?:0|{_PX}))?",
        "box-sizing": "border-box|content-box",
        "direction": "ltr|rtl",
        "display": "block|inline|inline-block|table|table-row-group|table-row|table-cell",
        "font": f"(?:italic )?(?:(?:normal|bold|[1-9]00) )?{_PX}(?: ?/ ?(?:{_LINE}))? {_FAMILY}",
        "font-family": _FAMILY,
        "font-size": f"0|{_PX}",
        "font-style": "normal|italic",
        "font-weight": "normal|bold|bolder|lighter|[1-9]00",
        "height": "100%|auto",
        "letter-spacing": r"normal|0|[0-4](?:\.\d+)?px|0?\.\d+(?:px|em)",
        "line-height": _LINE,
        "text-align": "left|right|center|justify|start|end",
        "text-decoration": "none|underline",
        "text-transform": "none|uppercase|lowercase|capitalize",
        "vertical-align": "top|middle|bottom|baseline",
        "width min-width": r"(?:[1-7]\d\d(?:\.\d+)?|800)px|100%|auto",
        "max-width": r"[1-9]\d{2,3}(?:\.\d+)?px|100%|none",
        "word-break word-wrap overflow-wrap": "normal|break-word",
        **{f"padding{side}": f"(?:0|{_PX})(?: (?:0|{_PX})){{0,3}}" for side in _SIDES},
        **{f"margin{side}": f"(?:auto|0|{_PX})(?: (?:auto|0|{_PX})){{0,3}}" for side in _SIDES},
        **{
            f"border{side}{what}": f"(?:{_BORDER})(?: (?:{_BORDER})){{0,3}}"
            for side in _SIDES
            for what in ("", "-color", "-style", "-width")
        },
    }
)
_ATTRIBUTES: Final = _patterns(
    {
        "href style title lang dir role aria-label align valign colspan rowspan scope class id target rel": "(?s:.*)",
        "bgcolor": _COLOUR,
        "border cellpadding cellspacing": r"[0-5]?\d|60",
        "height": "100%",
        "width": r"[1-7]\d\d|800|100%",
    }
)
# Tables and cells, unlike boxes, are never narrower than their words.
_GROWING: Final = {"table", "td", "th"}
_SHARE = re.compile(r"[1-9]\d?(?:\.\d+)?%", re.ASCII)


def is_harmless(name: str, style: Mapping[str, str], attributes: Mapping[str, str]) -> bool:
    """Whether all that is said of an element, its style's properties in lower case, is on the lists."""
    grows = name in _GROWING and "display" not in style
    return (
        name in _ELEMENTS
        and ("bgcolor" not in attributes or name in _TABLE)
        and all(_is_known(_ATTRIBUTES, *one, grows=grows) for one in attributes.items())
        and all(_is_known(_STYLES, *one, grows=grows) for one in style.items())
    )


def _is_known(patterns: Mapping[str, re.Pattern[str]], name: str, value: str, *, grows: bool) -> bool:
    if grows and name == "width" and _SHARE.fullmatch(value):
        return True
    return name in patterns and patterns[name].fullmatch(value) is not None
