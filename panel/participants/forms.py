"""Adding participants, by hand and from a file."""

from __future__ import annotations

from flask_wtf import FlaskForm
from flask_wtf.file import FileField, FileRequired
from wtforms import RadioField, StringField
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


class FileForm(FlaskForm):  # type: ignore[misc]  # Flask-WTF ships no types
    """A file of people."""

    file = FileField("CSV file", validators=[FileRequired("Choose a file.")])


class ImportForm(FlaskForm):  # type: ignore[misc]  # Flask-WTF ships no types
    """What becomes of those who are in the campaign already."""

    existing = RadioField(
        "People who are in the campaign already",
        choices=[
            ("leave", "Leave them as they are"),
            ("update", "Give them the names in the file, and a referral link if they have none"),
        ],
        default="leave",
    )
