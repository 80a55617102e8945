"""What people fill in about campaigns."""

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence
from urllib.parse import urlsplit

from flask_wtf import FlaskForm
from wtforms import SelectField, StringField
from wtforms.validators import DataRequired, Length, Optional, ValidationError

from panel.addresses.service import OutboundAddress
from panel.campaigns.service import Campaign, Details
from panel.message.addresses import InvalidHeaderText, check_header_text

_DEFAULT = ""


def _one_line(_form: FlaskForm, field: StringField) -> None:
    try:
        check_header_text(field.data or "", what="This")
    except InvalidHeaderText as error:
        raise ValidationError(str(error)) from None


def _web_address(_form: FlaskForm, field: StringField) -> None:
    message = "Give the whole web address, such as https://www.example.com/r/"
    value = field.data or ""
    try:
        parts = urlsplit(value)
        host = parts.hostname
    except ValueError:
        raise ValidationError(message) from None
    if parts.scheme not in ("http", "https") or not host or not re.fullmatch(r"[\x21-\x7e]+", value):
        raise ValidationError(message)
    if any(mark in value for mark in "<>\"'{}\\^`|"):
        raise ValidationError("This holds a character that web addresses cannot have.")


def _stripped(value: str | None) -> str:
    return (value or "").strip()


class CampaignForm(FlaskForm):  # type: ignore[misc]  # Flask-WTF ships no types
    """A campaign. `address_id` is left out for members, who do not choose how mail is sent."""

    name = StringField(
        "Name",
        filters=[_stripped],
        validators=[DataRequired("Give the campaign a name."), Length(max=200), _one_line],
        description="Your own name for it; letters may show it too.",
    )
    company_name = StringField(
        "Company",
        filters=[_stripped],
        validators=[DataRequired("Say whose program it is."), Length(max=200), _one_line],
        description="As your recipients know you. Letters greet and sign with it.",
    )
    referral_url = StringField(
        "Referral page",
        filters=[_stripped],
        validators=[DataRequired("Say where referral links lead."), Length(max=1900), _web_address],
    )
    portal_url = StringField(
        "Referrer’s own page",
        filters=[_stripped],
        validators=[Optional(), Length(max=1900), _web_address],
        description="Where referrers follow their referrals. Without one, letters leave it out.",
    )
    address_id = SelectField("Outbound address", description="Who the campaign’s mail comes from.")

    def offer(self, addresses: Sequence[OutboundAddress]) -> None:
        """Fills the choice of outbound addresses; the first one given is the account's default."""
        default = f"The default address ({addresses[0].email})" if addresses else "The default address (none yet)"
        self.address_id.choices = [(_DEFAULT, default), *((str(each.id), each.email) for each in addresses)]

    def details(self, *, address_id: uuid.UUID | None) -> Details:
        """What was filled in. `address_id` is what it stays when the form does not ask."""
        if "address_id" in self:
            address_id = uuid.UUID(self.address_id.data) if self.address_id.data else None
        return Details(
            name=self.name.data,
            company_name=self.company_name.data,
            referral_url=self.referral_url.data,
            portal_url=self.portal_url.data,
            address_id=address_id,
        )

    @classmethod
    def of(cls, campaign: Campaign) -> CampaignForm:
        """The form of a campaign as it is; in a POST, as it was sent."""
        return cls(obj=campaign, address_id=str(campaign.address_id or _DEFAULT))
