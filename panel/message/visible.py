"""Whether something is seen in a letter, as far as that is certain.

Who hides words has many ways, and mail programs know some more. So this does not look for them: where anything stands
around words that `harmless` does not list, it cannot be told whether they are seen.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from unicodedata import category

from panel.message.harmless import INLINE, is_harmless

# In pixels: smaller words nobody reads; what is further from the side, all around it added up, may be cut off.
_LEAST_SIZE: Final = 9.0
_MOST_INSET: Final = 240.0
# Lower lines, by the size of their words, stand over each other, and out of their background.
_LEAST_LINE: Final = 0.75
_LEAST_CONTRAST: Final = 2.0
_LINK_COLOUR: Final = "#0000ee"  # of a link that has none of its own

# Categories of characters that have a shape, and those of them that have none.
_SHAPES: Final = frozenset({"Lu", "Ll", "Lt", "Lo", "Nd"})
_BLANKS: Final = frozenset("\u115f\u1160\u3164\uffa0\U00013441\U00013442")

_TAKES_ROOM = re.compile(r"padding|margin|border|cell")
_NUMBER = re.compile(r"(?<![#\w.])\d+(?:\.\d+)?")
_LENGTH = re.compile(r"(\d+(?:\.\d+)?)(px|pt|%)")

# What could be laid over other words, wherever it stands: what is moved, cast, computed, or partly seen through.
_COVERS = re.compile(
    r"(?<![\w#-])-\.?\d|shadow\s*:(?!\s*none)|opacity\s*:(?!\s*[01]\s*(?:[;!]|$))"
    r"|(?<!url)(?<!rgb)(?<!rgba)(?<!hsl)(?<!hsla)(?<!gradient)\("
)


@dataclass(frozen=True, slots=True)
class Look:
    """What holds for words in an element. Colours are `#rrggbb`; their size and the room at their side are in pixels.

    `line` is the height of their lines where it is fixed, also in pixels. A background is a `strip` when it is that of
    an inline element: it is as high as this element's words, and behind nothing that is higher or stands elsewhere.
    """

    colour: str = "#000000"
    background: str = "#ffffff"
    is_strip: bool = False
    size: float = 16.0
    line: float | None = None
    inset: float = 0.0

    @property
    def is_readable(self) -> bool:
        """Whether words that look like this are seen."""
        return (
            self.size >= _LEAST_SIZE
            and (self.line is None or self.line >= self.size * _LEAST_LINE)
            and _contrast(self.colour, self.background) >= _LEAST_CONTRAST
        )


def within(around: Look | None, name: str, attributes: Mapping[str, str]) -> Look | None:
    """How words look in an element that stands in something of that look; None where it cannot be told."""
    style = _declared(attributes.get("style", ""))
    if around is None or style is None or not is_harmless(name, style, attributes):
        return None
    is_inline = style["display"] == "inline" if "display" in style else name in INLINE
    background = _background(style, attributes.get("bgcolor", ""))
    size = _size(style, around.size)
    if around.is_strip and (not is_inline or size > around.size or "vertical-align" in style):
        return None
    look = Look(
        colour=_hex(style.get("color", _LINK_COLOUR if name == "a" else around.colour)),
        background=background or around.background,
        is_strip=is_inline if background else around.is_strip,
        size=size,
        line=_line(style, size, around.line),
        inset=around.inset + _room({**attributes, **style}),
    )
    return look if look.inset <= _MOST_INSET else None


def may_cover(style: str) -> bool:
    """Whether an element of this style could be laid over words that stand outside it."""
    return _COVERS.search(style.lower()) is not None


def letters(words: str) -> int:
    """How many letters and digits are seen of these words."""
    return sum(category(one) in _SHAPES and one not in _BLANKS for one in words)


def _declared(style: str) -> dict[str, str] | None:
    """A style's properties; None where it is not certain what holds: said twice, or in odd characters."""
    pairs = [part.partition(":") for part in style.lower().split(";") if part.strip()]
    said = {name.strip(): _unmarked(value.strip()) for name, _, value in pairs}
    is_font_twice = "font" in said and not said.keys().isdisjoint({"font-size", "line-height"})
    backgrounds = {said[name].split(" ")[0] for name in ("background", "background-color") if name in said}
    is_twice = len(said) < len(pairs) or is_font_twice or len(backgrounds) > 1
    return said if style.isascii() and style.isprintable() and not is_twice else None


def _unmarked(value: str) -> str:
    """The value without its `!important`, which changes nothing for what is said once."""
    return value.removesuffix("important").rstrip().removesuffix("!").rstrip() if "!" in value else value


def _size(style: Mapping[str, str], around: float) -> float:
    said = style.get("font-size", style.get("font"))
    return around if said is None else _pixels(said, 0.0) or 0.0


def _line(style: Mapping[str, str], size: float, around: float | None) -> float | None:
    said = style.get("line-height", style["font"].partition("/")[2] if "font" in style else None)
    return around if said is None else _pixels(said, size)


def _pixels(said: str, whole: float) -> float | None:
    """The first length in a value; None where there is none."""
    found = _LENGTH.search(said)
    return float(found[1]) * {"px": 1, "pt": 4 / 3, "%": whole / 100}[found[2]] if found else None


def _room(said: Mapping[str, str]) -> float:
    """The most that an element's edges can take at one side."""
    edges = (value for name, value in said.items() if _TAKES_ROOM.match(name))
    return sum(max(map(float, _NUMBER.findall(value)), default=0) for value in edges)


def _background(style: Mapping[str, str], attribute: str) -> str:
    """An element's own background; "" for none."""
    said = style.get("background-color", style.get("background", attribute)).split(" ")[0]
    return "" if said in ("", "none", "transparent") else _hex(said)


def _hex(colour: str) -> str:
    digits = {"black": "000", "white": "fff"}.get(colour.lower(), colour.lower().removeprefix("#"))
    return "#" + ("".join(digit * 2 for digit in digits) if len(digits) == 3 else digits)


def _contrast(one: str, other: str) -> float:
    """The contrast of two colours as WCAG 2 has it: from 1, none at all, to 21."""
    darker, lighter = sorted((_luminance(one), _luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
