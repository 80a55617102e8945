"""The form of an email's words, for every page that has an editor."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from flask_wtf import FlaskForm
from wtforms import HiddenField, StringField, TextAreaField

from panel.message.drafting import Words, problem_words
from panel.message.template import Problem


class _Version(Protocol):
    """Words as they were saved."""

    id: Any
    subject: Any
    preheader: Any
    html_source: Any
    text: Any


class WordsForm(FlaskForm):  # type: ignore[misc]  # Flask-WTF ships no types
    """An email's words. What can be said of them is said by `message.template.prepare`, not by validators."""

    subject = StringField("Subject")
    preheader = StringField("Preview text", description="What the inbox shows after the subject. It may be empty.")
    html = TextAreaField("Body, as HTML")
    text = TextAreaField("Text part")
    based_on = HiddenField()  # the version whose words the form was filled with

    def add_problems(self, problems: Iterable[Problem]) -> None:
        """Puts each problem beside its field, with its line and tag."""
        for problem in problems:
            field = self[problem.field]
            field.errors = [*field.errors, problem_words(problem)]

    def fill(self, version: _Version) -> None:
        """Shows a version's words."""
        self.subject.data = version.subject
        self.preheader.data = version.preheader
        self.html.data = version.html_source
        self.text.data = version.text
        self.based_on.data = str(version.id)

    def words(self) -> Words:
        """The words as typed."""
        return Words(**{name: self[name].data or "" for name in ("subject", "preheader", "html", "text")})
