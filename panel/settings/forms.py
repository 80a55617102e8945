"""What people fill in about their account, its people and its keys."""

from __future__ import annotations

from collections.abc import Iterable

from flask_wtf import FlaskForm
from wtforms import (
    EmailField,
    PasswordField,
    RadioField,
    SelectField,
    SelectMultipleField,
    StringField,
    TextAreaField,
)
from wtforms.fields.choices import SelectChoice
from wtforms.validators import DataRequired, InputRequired, Length, ValidationError

from panel.accounts.service import SCOPES
from panel.message.addresses import InvalidAddress, InvalidHeaderText, check_header_text, normalise
from panel.settings.zones import zones
from panel.web import passwords

ROLES = [
    SelectChoice("owner", "Owner: may change servers, addresses, people and keys"),
    SelectChoice("member", "Member: writes and sends, and sees the rest"),
]
SCOPE_WORDS = {
    "events:write": "Report events",
    "deliveries:read": "Read how deliveries are doing",
}


def _stripped(value: str | None) -> str:
    return (value or "").strip()


def _stripped_lines(value: str | None) -> str:
    return "\n".join(line.strip() for line in (value or "").strip().splitlines())


def _one_line(_form: FlaskForm, field: StringField) -> None:
    try:
        check_header_text(field.data or "", what="This")
    except InvalidHeaderText as error:
        raise ValidationError(str(error)) from None


def _a_name(form: FlaskForm, field: StringField) -> None:
    _one_line(form, field)
    # The account's name stands as the sender's in letters of campaigns.
    if any(mark in field.data.lower() for mark in ("://", "www.")):
        raise ValidationError("A name holds no web address.")


def _an_address(_form: FlaskForm, field: EmailField) -> None:
    try:
        field.data = normalise(field.data or "")
    except InvalidAddress as error:
        raise ValidationError(str(error)) from None


def _lines(_form: FlaskForm, field: TextAreaField) -> None:
    try:
        for line in (field.data or "").splitlines():
            check_header_text(line, what="A line of the address")
    except InvalidHeaderText as error:
        raise ValidationError(str(error)) from None


class KeyForm(FlaskForm):  # type: ignore[misc]  # Flask-WTF ships no types
    """A new API key."""

    label = StringField(
        "What is it for?",
        filters=[_stripped],
        validators=[DataRequired("Say what the key is for, so that you know later which one to revoke."),
                    Length(max=100), _one_line],
    )  # fmt: skip
    scopes = SelectMultipleField(
        "It may",
        choices=[SelectChoice(scope, SCOPE_WORDS[scope]) for scope in SCOPES],
        default=list(SCOPES),
        validators=[DataRequired("Choose what the key may do.")],
    )


class AccountForm(FlaskForm):  # type: ignore[misc]  # Flask-WTF ships no types
    """What is so for the whole account."""

    name = StringField(
        "Account name",
        filters=[_stripped],
        validators=[DataRequired("Give the account a name."), Length(max=200), _a_name],
        description="Stands in mail from an address without a name of its own.",
    )
    time_zone = SelectField("Time zone", description="Every page shows times in it.")
    postal_address = TextAreaField(
        "Postal address",
        filters=[_stripped_lines],
        validators=[Length(max=500), _lines],
        description="Stands at the end of your campaigns’ letters. Many countries ask for it in commercial email.",
    )

    def offer(self, present: str) -> None:
        """Fills the choice of time zones; the present one is among them whatever it is."""
        names: Iterable[str] = zones() if present in zones() else [present, *zones()]
        self.time_zone.choices = [SelectChoice(name, name.replace("_", " ")) for name in names]


class InviteForm(FlaskForm):  # type: ignore[misc]  # Flask-WTF ships no types
    """Somebody to be invited."""

    email = EmailField("Email address", validators=[InputRequired("Enter the person’s email address."), _an_address])
    role = RadioField("Role", choices=ROLES, default="member", validators=[InputRequired("Choose a role.")])


class AcceptForm(FlaskForm):  # type: ignore[misc]  # Flask-WTF ships no types
    """Name and password of somebody who comes by an invitation."""

    name = StringField(
        "Your name",
        filters=[_stripped],
        validators=[DataRequired("Enter your name."), Length(max=200), _a_name],
    )
    password = PasswordField("Password", validators=[InputRequired("Choose a password.")])

    def validate_password(self, field: PasswordField) -> None:
        """As every password of a login."""
        try:
            passwords.check(field.data or "", [self.name.data or ""])
        except ValueError as error:
            raise ValidationError(str(error)) from None


class SignUpForm(FlaskForm):  # type: ignore[misc]  # Flask-WTF ships no types
    """A new account. Its password is chosen by the link in the letter: only who reads that has one."""

    email = EmailField(
        "Email address",
        validators=[InputRequired("Enter your email address."), _an_address],
        description="We mail a link there. It confirms the address and lets you choose your password.",
    )
    account_name = StringField(
        "Account name",
        filters=[_stripped],
        validators=[DataRequired("Give the account a name."), Length(max=190), _a_name],
        description="Such as the name of your company. You can change it later.",
    )
