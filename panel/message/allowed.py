"""What HTML a letter may be made of: elements, attributes, style properties and the schemes of links.

Lists of what may stay, not of what must go: what nobody thought of is removed. Scripts, forms, frames and style sheets
are not here because mail programs drop them, and because a letter is shown to the account's users as well.
"""

from typing import Final


def _words(*lines: str) -> set[str]:
    return {word for line in lines for word in line.split()}


TAGS: Final = _words(
    "a abbr b big blockquote br caption center cite code col colgroup dd del div dl dt em font",
    "h1 h2 h3 h4 h5 h6 hr i img ins li ol p pre q s small span strike strong sub sup tt u ul",
    "table tbody td tfoot th thead tr section article header footer main",
)
REMOVED_WITH_CONTENT: Final = _words("script style title iframe object textarea select noscript")
ATTRIBUTES: Final = {
    "*": _words("style title dir lang align valign width height bgcolor role aria-label"),
    "a": {"href"},
    "img": {"src", "alt", "border"},
    "table": {"border", "cellpadding", "cellspacing"},
    "td": {"colspan", "rowspan", "nowrap"},
    "th": {"colspan", "rowspan", "nowrap", "scope"},
    "col": {"span"},
    "colgroup": {"span"},
    "font": {"color", "face", "size"},
    "ol": {"start", "type"},
}
URL_ATTRIBUTES: Final = {"href", "src"}
SCHEMES: Final = {"http", "https", "mailto", "tel"}

_SIDES: Final = ("", "-top", "-right", "-bottom", "-left")
STYLES: Final = _words(
    *(f"{box}{side}" for box in ("margin", "padding") for side in _SIDES),
    *(f"border{side}{what}" for side in _SIDES for what in ("", "-color", "-style", "-width")),
    "border-radius border-collapse border-spacing box-sizing box-shadow table-layout opacity",
    "color background background-color background-image background-position background-repeat background-size",
    "font font-family font-size font-style font-weight font-variant line-height letter-spacing word-spacing",
    "text-align text-decoration text-indent text-transform text-shadow vertical-align white-space",
    "word-break word-wrap overflow-wrap width min-width max-width height min-height max-height overflow",
    "display float clear direction list-style list-style-type list-style-position",
)
