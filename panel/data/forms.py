"""What is kept for how long, and the last form that an account fills in."""

from __future__ import annotations

from typing import Any

from flask_login import current_user
from flask_wtf import FlaskForm
from wtforms import IntegerField, PasswordField, StringField, ValidationError
from wtforms.validators import NumberRange, Optional

from panel.web import limits, reauth, throttle

LONGEST = 3_650


class KeepForm(FlaskForm):  # type: ignore[misc]  # Flask-WTF ships no types
    """For how many days what letters were made of is kept."""

    days = IntegerField(
        "Days",
        validators=[
            Optional(),
            NumberRange(1, LONGEST, "Enter a number of days from 1 to 3,650, or nothing to keep them."),
        ],
    )

    def bound(self, most: int | None) -> None:
        """What the operator keeps for `most` days cannot be kept longer."""
        self._most = most

    def validate_days(self, field: Any) -> None:
        """At most as long as the operator keeps it."""
        if field.data is not None and self._most is not None and field.data > self._most:
            raise ValidationError(f"This installation keeps them for {self._most} days. Enter at most that.")


class CloseForm(FlaskForm):  # type: ignore[misc]  # Flask-WTF ships no types
    """The account's name typed, and the password of the person who wants it gone."""

    name = StringField("The account’s name")
    password = PasswordField("Your password")

    def validate_name(self, field: Any) -> None:
        """Exactly the account's."""
        wanted = current_user.account.name
        if (field.data or "").strip() != wanted:
            raise ValidationError(f"Type the name as it is written here: {wanted}")

    def validate_password(self, field: Any) -> None:
        """That of whoever is signed in."""
        if not field.data:
            raise ValidationError("Enter your password.")
        wait = throttle.hit_password()
        if wait is not None:
            raise ValidationError(
                f"That was a lot of wrong passwords in a short time. Try again in {limits.in_words(wait)}."
            )
        if not reauth.is_right(field.data):
            current_user.track_failed_authn("password")
            raise ValidationError("That is not your password.")
        throttle.forget_passwords()
