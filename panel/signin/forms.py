"""Forms of the second factor."""

from __future__ import annotations

from flask_wtf import FlaskForm
from wtforms import HiddenField, StringField
from wtforms.validators import InputRequired, Length


class CodeForm(FlaskForm):  # type: ignore[misc]  # WTForms ships no types
    """Six figures of an authenticator app."""

    code = StringField("Code from your app", [InputRequired("Enter the code that your app shows."), Length(max=20)])


class RecoveryForm(FlaskForm):  # type: ignore[misc]  # WTForms ships no types
    """A recovery code, with or without its hyphens."""

    recovery_code = StringField("Recovery code", [InputRequired("Enter one of your recovery codes."), Length(max=60)])


class PasskeyNameForm(FlaskForm):  # type: ignore[misc]  # WTForms ships no types
    """What its owner calls a passkey."""

    name = StringField("Name of the passkey", [InputRequired("Give it a name, such as “My laptop”."), Length(max=100)])


class PasskeyForm(FlaskForm):  # type: ignore[misc]  # WTForms ships no types
    """What the browser answers, and the name that was given before."""

    credential = HiddenField()
    name = HiddenField()
