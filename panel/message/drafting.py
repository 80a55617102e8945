"""Words in an editor: what is wrong with them, and whose the text part is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from panel.message import template
from panel.message.template import CompiledVersion, Prepared, Problem, TemplateProblems


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """What stands in the editor's fields."""

    subject: str
    preheader: str
    html: str
    text: str


def prepare(words: Words, *, text: str | None, allowed: frozenset[str]) -> Prepared:
    """Words with this text part, or with one made from the HTML. Raises TemplateProblems."""
    return template.prepare(
        subject=words.subject, preheader=words.preheader, html=words.html, text=text, allowed=allowed
    )


def compiled(words: Prepared) -> CompiledVersion:
    """Words that nobody has saved, ready to be rendered."""
    return template.compile_version(subject=words.subject, preheader=words.preheader, html=words.html, text=words.text)


def own_text(words: Words, *, shown: str, shown_is_own: bool, allowed: frozenset[str]) -> str | None:
    """The text part if a person wrote it; None if it is the one made from the HTML, whose next making replaces it.

    It is made when the field is empty, when it still is what was `shown` and had been made, or when it is what these
    very words would make.
    """
    typed = _plain(words.text)
    if not typed or (not shown_is_own and typed == _plain(shown)):
        return None
    try:
        made = made_text(words, allowed=allowed)
    except TemplateProblems:
        return words.text
    return None if typed == _plain(made) else words.text


def made_text(words: Words, *, allowed: frozenset[str]) -> str:
    """The text part that these words would make. Raises TemplateProblems."""
    return prepare(words, text=None, allowed=allowed).text


def line(source: str, values: Mapping[str, str | None]) -> str:
    """One line of words, such as a subject, with these values."""
    version = template.compile_version(subject=source, preheader="", html="", text="")
    return version.render(values).subject


def problem_words(problem: Problem) -> str:
    """A problem as it is shown beside its field."""
    where = f"Line {problem.line}" if problem.field in ("html", "text") else ""
    place = ", ".join(part for part in (where, problem.tag) if part)
    return f"{place}: {problem.message}" if place else problem.message


def _plain(text: str) -> str:
    # A browser sends CRLF for every line break of a field, whatever it was given.
    return "\n".join(line.rstrip() for line in text.replace("\r\n", "\n").split("\n")).strip()
