"""What people fill in about suppressions."""

from __future__ import annotations

import uuid
from collections.abc import Iterable

from flask_wtf import FlaskForm
from wtforms import RadioField, SelectField, StringField
from wtforms.validators import InputRequired, ValidationError

from panel.campaigns.service import Campaign
from panel.message.addresses import InvalidAddress, normalise
from panel.suppressions.choices import Reader

_ALL = ""


class AddForm(FlaskForm):  # type: ignore[misc]  # Flask-WTF ships no types
    """An address to leave alone, entered by hand."""

    address = StringField("Email address", validators=[InputRequired("Type the address.")])
    campaign = SelectField("Stop", validate_choice=True)

    def offer(self, campaigns: Iterable[Campaign]) -> None:
        """The campaigns to choose from, after all of them together."""
        self.campaign.choices = [
            (_ALL, "All email of this account"),
            *((str(each.id), f"Only email of “{each.name}”") for each in campaigns),
        ]

    def validate_address(self, field: StringField) -> None:
        """WTForms calls this for the field of that name."""
        try:
            normalise(field.data or "")
        except InvalidAddress as error:
            raise ValidationError(str(error)) from None

    @property
    def campaign_id(self) -> uuid.UUID | None:
        """The chosen campaign; None for all."""
        return uuid.UUID(self.campaign.data) if self.campaign.data else None


class PreferencesForm(FlaskForm):  # type: ignore[misc]  # Flask-WTF ships no types
    """What a participant wants to receive."""

    choice = RadioField("I want")

    def word_for(self, reader: Reader) -> None:
        """Says the choices in the names that the reader knows."""
        self.choice.choices = [
            ("campaign", f"Email about “{reader.campaign}”"),
            ("nothing_of_campaign", f"No email about “{reader.campaign}”"),
            ("nothing", f"No email from {reader.company} at all"),
        ]
