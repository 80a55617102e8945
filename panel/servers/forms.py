"""The form of an outbound address's mail server."""

from __future__ import annotations

import json
import re
import uuid
from typing import Any

from flask import current_app
from flask_wtf import FlaskForm
from wtforms import IntegerField, PasswordField, SelectField, StringField, TextAreaField, ValidationError
from wtforms.fields.choices import SelectChoice
from wtforms.validators import InputRequired, Length, Optional
from wtforms.widgets import TextInput

from panel.config import Settings
from panel.servers import service
from panel.servers.service import Entry, MailServer
from panel.smtp.advice import slips
from panel.smtp.authorities import PrivateKeyGiven, TrustedCertificate, described, read_authorities
from panel.smtp.limits import MOST_CONNECTIONS, MOST_LETTERS, RATES
from panel.smtp.presets import OFFERED, PRESETS
from panel.smtp.settings import DEFAULT_PORTS, AuthMethod, Security, validate_host

LIMITS = ("connections", *RATES)
FIELDS = ("host", "port", "security", "auth", "username", "password", "ca_certificate", *LIMITS)
# What a change of one field may make right or wrong in others.
TOUCHES = {"port": ("security",), "security": ("port",), "host": ("username",), "auth": ("username",)}

_SECURITY_LABELS = [
    SelectChoice("starttls", "STARTTLS (usually port 587)"),
    SelectChoice("tls", "TLS from the start (usually port 465)"),
    SelectChoice("none", "None: nothing is encrypted"),
]
_AUTH_LABELS = [
    SelectChoice("auto", "Automatic: the best that the server offers"),
    SelectChoice("plain", "PLAIN"),
    SelectChoice("login", "LOGIN"),
    SelectChoice("cram-md5", "CRAM-MD5"),
    SelectChoice("none", "None: the server asks for no password"),
]


def _preset_choices() -> list[SelectChoice]:
    return [SelectChoice(key, PRESETS[key].name, render_kw=_fills(key)) for key in OFFERED]


def _fills(key: str) -> dict[str, str]:
    preset = PRESETS[key]
    if not preset.host:
        return {}
    return {"data-preset": json.dumps({"host": preset.host, "port": preset.port, "security": str(preset.security)})}


class PortField(IntegerField):  # type: ignore[misc]  # WTForms ships no types
    """A whole number, with a word of our own when it is none."""

    def process_formdata(self, valuelist: list[str]) -> None:
        """Reads what was typed."""
        try:
            super().process_formdata([value.strip() for value in valuelist])
        except ValueError:
            raise ValueError("Enter the port as a number, such as 587.") from None


class LimitField(IntegerField):  # type: ignore[misc]  # WTForms ships no types
    """A whole number within bounds, or nothing."""

    widget = TextInput()  # a browser's field for numbers would hide from us what else was typed

    def __init__(self, label: str, *, least: int, most: int, **options: Any) -> None:
        self._least, self._most = least, most
        super().__init__(label, [Optional()], **options)

    def process_formdata(self, valuelist: list[str]) -> None:
        """Reads what was typed; people write thousands in more than one way."""
        typed = re.sub(r"(?<=\d)[ ,.\u00a0\u202f](?=\d{3}\b)", "", "".join(valuelist).strip())
        self.data = None
        if not typed:
            return
        if not re.fullmatch(r"\d{1,9}", typed, re.ASCII) or not self._least <= int(typed) <= self._most:
            raise ValueError(f"Enter a number from {self._least} to {self._most:,}, or nothing.")
        self.data = int(typed)


class ServerForm(FlaskForm):  # type: ignore[misc]  # Flask-WTF ships no types
    """Names and values are a contract with scripts; see `Entry` for what comes of them."""

    preset = SelectField("Provider", choices=_preset_choices(), default="other")
    host = StringField("Server", [InputRequired("Enter the server’s name, for example smtp.example.com.")])
    port = PortField("Port", [InputRequired("Enter the port, for example 587.")], default=587)
    security = SelectField("Security", choices=_SECURITY_LABELS, default="starttls")
    auth = SelectField("Authentication", choices=_AUTH_LABELS, default="auto")
    username = StringField("Username", [Optional(), Length(max=320)])
    password = PasswordField("Password", [Optional(), Length(max=1000)])
    ca_certificate = TextAreaField("CA certificate (PEM)", [Optional()], filters=[lambda text: (text or "").strip()])
    connections = LimitField("Connections at once", least=1, most=MOST_CONNECTIONS)
    per_minute = LimitField("Letters a minute", least=0, most=MOST_LETTERS)
    per_hour = LimitField("Letters an hour", least=0, most=MOST_LETTERS)
    per_day = LimitField("Letters a day", least=0, most=MOST_LETTERS)

    @classmethod
    def filled(cls, server: MailServer | None) -> ServerForm:
        """The form as it shows what is stored; the password never is."""
        return cls(formdata=None, obj=server, data=server.limits if server else None)

    @classmethod
    def typed(cls, values: dict[str, Any]) -> ServerForm:
        """The form with what was typed before, all but the password."""
        shown = {key: value for key, value in values.items() if key not in ("password", "limits")}
        return cls(formdata=None, data={**shown, **values.get("limits", {})})

    @property
    def shows_limits(self) -> bool:
        """Whether there is something in the fields of limits, or wrong with them."""
        return any(self[name].data is not None or self[name].errors for name in LIMITS)

    @property
    def trusted(self) -> tuple[TrustedCertificate, ...]:
        """The certificates in the field, where they are good ones."""
        pem = self.ca_certificate.data
        return described(pem) if pem and not self.ca_certificate.errors else ()

    def entry(self, address_id: uuid.UUID) -> Entry | None:
        """What was entered, with the stored password if none was typed; None if anything is wrong."""
        self._fill_from_preset()
        if not self.validate():
            return None
        try:
            return service.with_stored_password(address_id, self._entry())
        except service.PasswordNeeded as problem:
            self.password.errors = [*self.password.errors, str(problem)]
            return None

    def slips(self, from_address: str) -> dict[str, list[str]]:
        """Likely slips by field: advice that blocks nothing."""
        found: dict[str, list[str]] = {}
        chosen = PRESETS.get(self.preset.data or "", PRESETS["other"])
        for slip in slips(
            host=self.host.data or "",
            port=self.port.data,
            security=Security(self.security.data) if self.security.data in list(Security) else Security.STARTTLS,
            auth=AuthMethod(self.auth.data) if self.auth.data in list(AuthMethod) else AuthMethod.AUTO,
            username=self.username.data or "",
            password=self.password.data or "",
            from_address=from_address,
        ):
            # What is an error already, or stands beside the chosen provider, need not be said a second time.
            if not self[slip.field].errors and slip.message != chosen.note:
                found.setdefault(slip.field, []).append(slip.message)
        return found

    def validate_host(self, field: StringField) -> None:
        """A plain host name or address."""
        try:
            validate_host(field.data or "")
        except ValueError as problem:
            raise ValidationError(str(problem)) from None

    def validate_port(self, field: IntegerField) -> None:
        """One of the ports that the operator lets tenants use."""
        settings: Settings = current_app.extensions["ownpost"]
        if field.data is None or not settings.smtp_policy.port_allowed((self.host.data or "").strip(), field.data):
            allowed = [str(port) for port in sorted(settings.smtp_policy.ports)]
            raise ValidationError(f"Mail servers can be reached on these ports: {', '.join(allowed)}.")

    def validate_username(self, field: StringField) -> None:
        """There must be one where there is a password, or a way to sign in was chosen."""
        if any(not char.isprintable() for char in field.data or ""):
            raise ValidationError("The username holds an invisible character. Type it again.")

    def validate_password(self, field: PasswordField) -> None:
        """Anything but a NUL, which no way of signing in can carry."""
        if "\0" in (field.data or ""):
            raise ValidationError("The password holds an invisible character. Type it again.")

    def validate_ca_certificate(self, field: TextAreaField) -> None:
        """One or more certificates, and nothing besides."""
        try:
            field.data = read_authorities(field.data)
        except ValueError as problem:
            if isinstance(problem, PrivateKeyGiven):
                field.data = ""  # it is not to be shown, and goes no further than this
            raise ValidationError(str(problem)) from None

    def validate(self, extra_validators: Any = None) -> bool:
        """All fields, and what they must have of one another."""
        good: bool = super().validate(extra_validators)
        wants_name = self.auth.data in ("plain", "login", "cram-md5") or (
            self.auth.data == "auto" and self.password.data
        )
        if wants_name and not self.username.data:
            self.username.errors = [*self.username.errors, "Enter the username that goes with the password."]
            return False
        return good

    def _fill_from_preset(self) -> None:
        # Without JavaScript choosing a provider fills nothing in, so an empty server means the provider's own.
        preset = PRESETS.get(self.preset.data or "")
        if preset is not None and preset.host and not (self.host.data or "").strip():
            self.host.data, self.host.raw_data = preset.host, [preset.host]
            self.port.data, self.security.data = preset.port, str(preset.security)

    def _entry(self) -> Entry:
        return Entry(
            preset=self.preset.data or "other",
            host=validate_host(self.host.data or ""),
            port=self.port.data or DEFAULT_PORTS[Security(self.security.data)],
            security=self.security.data,
            auth=self.auth.data,
            username=self.username.data or "",
            password=self.password.data or "",
            ca_certificate=self.ca_certificate.data,
            limits={name: self[name].data for name in LIMITS if self[name].data is not None},
        )
