"""What people fill in about a blast."""

from __future__ import annotations

import datetime as dt
from typing import Any, Final
from zoneinfo import ZoneInfo

from flask_wtf import FlaskForm
from wtforms import DateField, HiddenField, IntegerField, RadioField, SelectField, StringField
from wtforms.fields.choices import SelectChoice
from wtforms.validators import Length, NumberRange, Optional

from panel import db
from panel.blasts.audience import Audience
from panel.web.words import WordsForm

_MOST: Final = 1_000_000
_FIRST_YEAR, _LAST_YEAR = 1970, 9999  # days outside are not known in every time zone
_LONGEST: Final = dt.timedelta(days=366)
_MINUTE: Final = "%Y-%m-%dT%H:%M"


def _stripped(value: str | None) -> str:
    return (value or "").strip()


class BlastForm(WordsForm):
    """A blast's words, and whom it is for."""

    who = RadioField(
        "To",
        choices=[
            SelectChoice("all", "Everybody in the campaign"),
            SelectChoice("referrers", "Referrers"),
            SelectChoice("friends", "Friends"),
        ],
        description="Referrers have a link to share; friends came by one. What a merge tag can fill depends on it.",
    )
    since = DateField("Added since", validators=[Optional()])
    before = DateField("Added before", validators=[Optional()])
    referrals = SelectField(
        "Referrals they have made",
        choices=[
            SelectChoice("any", "Any number"),
            SelectChoice("none", "None"),
            SelectChoice("some", "At least …"),
        ],
    )
    at_least = IntegerField(
        "How many at least",
        validators=[Optional(), NumberRange(min=1, max=_MOST, message="Give a whole number from 1 on.")],
    )
    search = StringField("Name or address holds", filters=[_stripped], validators=[Length(max=100)])

    def fill_audience(self, audience: Audience) -> None:
        """Shows whom it is for."""
        self.who.data, self.referrals.data = audience.who, audience.referrals
        self.since.data, self.before.data = audience.since, audience.before
        self.at_least.data, self.search.data = audience.at_least, audience.search

    def audience(self) -> Audience:
        """Whom it is for, as filled in. Ask `validate` first; what is not valid counts as not given."""
        return Audience(
            who=self.who.data if self.who.data in _values(self.who) else "all",
            since=self.since.data,
            before=self.before.data,
            referrals=self.referrals.data if self.referrals.data in _values(self.referrals) else "any",
            at_least=self.at_least.data if self.at_least.data and self.at_least.data > 0 else 1,
            search=self.search.data or "",
        )

    def validate(self, extra_validators: Any = None) -> bool:
        """Also: the two days leave somebody between them."""
        valid: bool = super().validate(extra_validators)
        for field in (self.since, self.before):
            if field.data and not _FIRST_YEAR <= field.data.year < _LAST_YEAR:
                field.errors = [*field.errors, "Give a day of our time."]
                valid = False
        if self.since.data and self.before.data and self.since.data >= self.before.data:
            self.before.errors = [*self.before.errors, "This must be a later day than the one before it."]
            return False
        return valid


def _values(field: Any) -> set[str]:
    return {choice.value for choice in field.choices}


class SendForm(FlaskForm):  # type: ignore[misc]  # Flask-WTF ships no types
    """Now, or at a time of the account's time zone. `version` are the words that were shown."""

    version = HiddenField()
    when = RadioField(
        "When", choices=[SelectChoice("now", "Now"), SelectChoice("later", "At a set time")], default="now"
    )
    at = StringField("Date and time", filters=[_stripped])

    def time(self, zone: ZoneInfo) -> dt.datetime | None:
        """The set time; None for now, and None with the field's error for one at which nothing can be sent.

        Such are none, a past or a far one, one that clocks skip, and one beside “Now”: who has set a time means it.
        """
        if self.when.data != "later":
            if self.at.data:
                self.at.errors = ["You have set a time and chosen “Now”. Choose “At a set time”, or empty this."]
            return None
        try:
            # Where clocks are set back it comes twice; the first is meant.
            at = dt.datetime.strptime(self.at.data or "", _MINUTE).replace(tzinfo=zone)
        except ValueError:
            self.at.errors = ["Give a date and a time, such as 2027-03-01T09:30."]
            return None
        if at.astimezone(dt.UTC).astimezone(zone).replace(tzinfo=None) != at.replace(tzinfo=None):
            self.at.errors = ["There is no such time on that day, as clocks are set forward. Choose another."]
        elif at <= db.now():
            self.at.errors = ["This time is over. Choose a later one, or send it now."]
        elif at - db.now() > _LONGEST:
            self.at.errors = ["This is more than a year away."]
        else:
            return at.astimezone(dt.UTC)
        return None
