"""Forms about outbound addresses."""

from __future__ import annotations

from flask_wtf import FlaskForm
from wtforms import EmailField, StringField, ValidationError
from wtforms.validators import InputRequired

from panel.addresses.service import MAX_NAME
from panel.message.addresses import InvalidAddress, InvalidHeaderText, canonical, check_header_text


class NameForm(FlaskForm):  # type: ignore[misc]  # Flask-WTF ships no types
    """The name beside an address."""

    display_name = StringField("Name that recipients see")

    def validate_display_name(self, field: StringField) -> None:
        """One line that may stand in a header."""
        try:
            check_header_text(field.data or "", what="The name", most=MAX_NAME)
        except InvalidHeaderText as problem:
            raise ValidationError(str(problem)) from None


class AddressForm(NameForm):
    """A new outbound address."""

    email = EmailField("Email address", [InputRequired("Enter the address that your mail is to come from.")])

    def validate_email(self, field: EmailField) -> None:
        """An address that can be mailed."""
        try:
            canonical(field.data or "")
        except InvalidAddress as problem:
            raise ValidationError(str(problem)) from None


class ConfirmForm(FlaskForm):  # type: ignore[misc]  # Flask-WTF ships no types
    """A button with its CSRF token."""
