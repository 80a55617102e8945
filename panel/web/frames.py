"""Answers for the sandboxed frame in which a letter is shown."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from flask import Response, make_response
from markupsafe import Markup

# A letter is somebody's HTML: in a frame of its own it can run nothing, send nothing and look like no page of ours. Its
# images are fetched over https alone: over http they could be a request to a device beside whoever looks at the letter.
LETTER_CSP: Final = (
    "sandbox; default-src 'none'; img-src https: data:; style-src 'unsafe-inline'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)
# Not a template: pages hold no inline style, while this has no other, being cut off from our style sheets.
_NOTE: Final = Markup(
    '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>Preview</title></head>\n'
    '<body style="margin:24px;font:15px/1.5 sans-serif;color:#1e2421"><p>{}</p><ul>{}</ul></body></html>\n'
)


def letter(html: str, status: int = 200) -> Response:
    """A letter's page. Its links open nowhere: they would lead out of the frame."""
    answer = make_response(html.replace("<head>", '<head><base target="_blank">', 1), status)
    answer.headers["Content-Security-Policy"] = LETTER_CSP
    answer.headers["X-Frame-Options"] = "SAMEORIGIN"
    return answer


def note(words: str, lines: Iterable[str], status: int) -> Response:
    """What stands in the frame when there is no letter."""
    items = Markup("").join(Markup("<li>{}</li>").format(line) for line in lines)
    return letter(str(_NOTE.format(words, items)), status)
