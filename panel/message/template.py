"""Templates of letters: checked and cleaned when they are saved, parsed once, then filled in for each recipient."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from html import escape
from typing import Final, Literal

from liquid.exceptions import LiquidError

from panel.message import checking, cleaning, wayout
from panel.message.addresses import MAX_HEADER_TEXT, InvalidHeaderText, body_text, check_header_text, one_line
from panel.message.checking import Fault
from panel.message.language import Program, TooLarge, Values, parse
from panel.message.letter import body_lines
from panel.message.standins import escape_braces

__all__ = [
    "CompiledVersion",
    "Field",
    "Footer",
    "Prepared",
    "Problem",
    "Rendered",
    "TemplateProblems",
    "TooLarge",
    "compile_version",
    "prepare",
]

Field = Literal["subject", "preheader", "html", "text"]

MAX_TEXT: Final = 100_000

_PAGE_START: Final = (
    '<!DOCTYPE html>\n<html>\n<head>\n<meta charset="utf-8">\n'
    '<meta name="viewport" content="width=device-width, initial-scale=1">\n</head>\n'
    '<body style="margin:0;padding:0">\n'
)
PAGE_END: Final = "\n</body>\n</html>\n"
# What the inbox shows after the subject; in the letter itself it is not seen.
_PREHEADER: Final = (
    '<div style="display:none;max-height:0;max-width:0;overflow:hidden;opacity:0;font-size:1px;line-height:1px">',
    "</div>\n",
)
_BLANK_LINES = re.compile(r"\n(?:[ \t]*\n){2,}")


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing to correct: in which field, on which line (from 1), about which tag (or none), and what is wrong."""

    field: Field
    line: int
    tag: str
    message: str


class TemplateProblems(Exception):
    """A template cannot be saved as it is; `problems` says why, in the order of the fields."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = list(problems)
        super().__init__("; ".join(f"{p.field}, line {p.line}: {p.message}" for p in self.problems))


@dataclass(frozen=True, slots=True)
class Prepared:
    """What is stored of a template: the body as it was typed, and what letters are made of."""

    subject: str
    preheader: str
    html_source: str
    html: str
    text: str
    tags_used: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Footer:
    """Who writes, from where, and how to stop it: put under letters that do not say the last by themselves."""

    company_name: str
    postal_address: str
    unsubscribe_url: str


@dataclass(frozen=True, slots=True)
class Rendered:
    """A letter's subject, one line, and its two bodies, a whole HTML page and plain text."""

    subject: str
    html: str
    text: str


@dataclass(frozen=True, slots=True)
class CompiledVersion:
    """A stored template, parsed. Immutable, and safe to share between threads."""

    subject: Program
    html: Program
    text: Program

    @property
    def tags_used(self) -> frozenset[str]:
        """The names of all merge tags that the letter is made of."""
        return self.subject.tags_used | self.html.tags_used | self.text.tags_used

    def render(self, values: Mapping[str, str | None], *, footer: Footer | None = None) -> Rendered:
        """Fill in the values, given by the full name of their tags; a missing or empty one takes its default.

        With a footer, a body in which the unsubscribe link is not surely seen gets one at its end. Raises TooLarge when
        values make a body longer than a million characters.
        """
        fitting = Values({name: body_text(value) for name, value in values.items() if value})
        subject = subject_line(self.subject.run(fitting))
        html = self.html.run(fitting, escape=escape)
        text = collapsed(self.text.run(fitting)).lstrip("\n")
        if footer and not wayout.is_in_html(html, footer.unsubscribe_url):
            html += footer_html(footer)
        if footer and not wayout.is_in_text(body_lines(text), footer.unsubscribe_url):
            text = text.rstrip() + footer_text(footer)
        return Rendered(subject=subject, html=f"{html}{PAGE_END}", text=text)


def prepare(*, subject: str, preheader: str, html: str, text: str | None, allowed: frozenset[str]) -> Prepared:
    """Check a template, clean its HTML and make the text part if there is none, all within 200 ms.

    `allowed` are the merge tags that its trigger can fill. Raises TemplateProblems with everything found wrong.
    """
    subject, preheader = subject.strip(), preheader.strip()
    html, text = body_text(html), None if text is None or not text.strip() else body_text(text)
    problems = [
        *_in_line("subject", subject, allowed, what="The subject"),
        *_in_line("preheader", preheader, allowed, what="The preview text"),
        *_in_body("html", html, allowed, limit=cleaning.MAX_SOURCE),
        *([] if text is None else _in_body("text", text, allowed, limit=MAX_TEXT)),
    ]
    if not subject:
        problems.insert(0, Problem("subject", 1, "", "The subject is empty."))
    if not html.strip():
        problems.append(Problem("html", 1, "", "The body is empty."))
    if problems:
        raise TemplateProblems(problems)
    cleaned = _cleaned(html)
    compiled = _compiled(subject, preheader, cleaned, text)
    return Prepared(
        subject=subject,
        preheader=preheader,
        html_source=html,
        html=cleaned.html,
        text=text or cleaned.text,
        tags_used=compiled.tags_used,
    )


def compile_version(*, subject: str, preheader: str, html: str, text: str) -> CompiledVersion:
    """Parse what `prepare` returned, once for all recipients. The preheader becomes a hidden part of the HTML."""
    hidden = f"{_PREHEADER[0]}{_escaped_literals(preheader)}{_PREHEADER[1]}" if preheader else ""
    return CompiledVersion(
        subject=parse(subject), html=parse(f"{_PAGE_START}{hidden}{wayout.told_apart(html)}"), text=parse(text)
    )


def subject_line(text: str) -> str:
    """A subject with its values put in, made one line that is not too long."""
    subject = one_line(text)
    return subject if len(subject) <= MAX_HEADER_TEXT else f"{subject[: MAX_HEADER_TEXT - 1]}…"


def collapsed(text: str) -> str:
    """The text with at most one blank line at a time: a condition that does not hold leaves those around it."""
    return _BLANK_LINES.sub("\n\n", text)


def footer_html(footer: Footer) -> str:
    """What a body of HTML ends with, from a line break on."""
    before, after = _html_around_link(footer.company_name, footer.postal_address)
    return f"{before}{escape(footer.unsubscribe_url)}{after}"


def footer_text(footer: Footer) -> str:
    """What a text ends with, from the end of its last line on."""
    return f"{_text_before_link(footer.company_name, footer.postal_address)}{footer.unsubscribe_url}\n"


def _in_line(field: Field, source: str, allowed: frozenset[str], *, what: str) -> list[Problem]:
    try:
        check_header_text(source, what=what)
    except InvalidHeaderText as error:
        return [Problem(field, 1, "", str(error))]
    return _problems(field, checking.check(source, allowed=allowed))


def _in_body(field: Field, source: str, allowed: frozenset[str], *, limit: int) -> list[Problem]:
    if len(source) > limit:
        message = f"This is {len(source):,} characters long; at most {limit:,} fit into a letter."
        return [Problem(field, 1, "", message)]
    return _problems(field, checking.check(source, allowed=allowed))


def _cleaned(html: str) -> cleaning.Cleaned:
    try:
        return cleaning.clean(html)
    except cleaning.CannotClean as error:
        raise TemplateProblems(_problems("html", error.faults)) from error


def _compiled(subject: str, preheader: str, cleaned: cleaning.Cleaned, text: str | None) -> CompiledVersion:
    """Parse what came of cleaning, which must never make something that cannot be rendered."""
    problems = _problems("html", checking.scan(cleaned.html)[1])
    if text is None:
        problems += _problems("text", checking.scan(cleaned.text)[1])
    if problems:
        raise TemplateProblems(problems)
    try:
        return compile_version(subject=subject, preheader=preheader, html=cleaned.html, text=text or cleaned.text)
    except LiquidError as error:
        problem = Problem("html", 1, "", f"A condition is torn apart by the HTML around it ({error.message}).")
        raise TemplateProblems([problem]) from error


def _problems(field: Field, faults: Iterable[Fault]) -> list[Problem]:
    return [Problem(field, fault.line, fault.tag, fault.message) for fault in faults]


def _escaped_literals(source: str) -> str:
    """The source as HTML text: what stands between its marks is escaped, the marks are kept."""
    pieces: list[str] = []
    position = 0
    for mark in checking.scan(source)[0]:
        pieces += [escape_braces(escape(source[position : mark.start])), mark.text]
        position = mark.end
    return "".join(pieces) + escape_braces(escape(source[position:]))


@lru_cache(maxsize=256)
def _html_around_link(company_name: str, postal_address: str) -> tuple[str, str]:
    lines = [*(escape(line) for line in _who(company_name, postal_address)), '<a href="']
    return (
        '\n<div style="max-width:560px;margin:0 auto;padding:16px 24px 24px;'
        f'font:13px/1.5 Arial,Helvetica,sans-serif;color:#767676">{"<br>".join(lines)}',
        '" style="color:#767676">Unsubscribe</a></div>',
    )


@lru_cache(maxsize=256)
def _text_before_link(company_name: str, postal_address: str) -> str:
    return "\n".join(["", "", "--", *_who(company_name, postal_address), "Unsubscribe: "])


def _who(company_name: str, postal_address: str) -> list[str]:
    """The footer's lines about the sender: the name, and the postal address in one line."""
    return [line for line in (one_line(company_name), one_line(postal_address.replace("\n", ", "))) if line]
