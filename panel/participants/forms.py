"""Adding a participant by hand."""

from __future__ import annotations

from flask_wtf import FlaskForm
from wtforms import StringField
from wtforms.validators import DataRequired, Length, ValidationError

from panel.message.addresses import InvalidAddress, InvalidHeaderText, check_header_text, normalise


def _stripped(value: str | None) -> str:
    return (value or "").strip()


def _name(_form: FlaskForm, field: StringField) -> None:
    try:
        check_header_text(field.data or "", what="A name")
    except InvalidHeaderText as error:
        raise ValidationError(str(error)) from None


class ParticipantForm(FlaskForm):  # type: ignore[misc]  # Flask-WTF ships no types
    """A referrer."""

    email = StringField("Email address", filters=[_stripped], validators=[DataRequired("Give an email address.")])
    first_name = StringField("First name", filters=[_stripped], validators=[Length(max=100), _name])
    last_name = StringField("Last name", filters=[_stripped], validators=[Length(max=100), _name])

    def validate_email(self, field: StringField) -> None:
        """An address that can be mailed."""
        try:
            normalise(field.data)
        except InvalidAddress as error:
            raise ValidationError(str(error)) from None
