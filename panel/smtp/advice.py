"""The likely slip in a form, named while it is being filled in."""

from dataclasses import dataclass

from panel.smtp.presets import Preset, preset_for_host
from panel.smtp.settings import AuthMethod, Security, validate_host

READING_PORTS = {110: "POP3", 995: "POP3", 143: "IMAP", 993: "IMAP"}


@dataclass(frozen=True, slots=True)
class Slip:
    """Something that looks wrong; `field` is the form's field that it belongs to. It is advice, not an error."""

    field: str
    message: str


def slips(
    *,
    host: str,
    port: int | None,
    security: Security,
    auth: AuthMethod,
    username: str,
    password: str,
    from_address: str,
) -> list[Slip]:
    """Return what is probably a slip in these settings, field by field; `port` is None while there is none."""
    preset = preset_for_host(host)
    found = [
        *_of_host(host),
        *_of_port(port, security),
        *_of_credentials(auth, security, username, password, preset),
        *_of_from(username, from_address, preset),
    ]
    if preset is not None and preset.note:
        found.append(Slip("host", preset.note))
    return found


def _of_host(host: str) -> list[Slip]:
    if not host:
        return []
    try:
        name = validate_host(host)
    except ValueError as problem:
        return [Slip("host", str(problem))]
    first = name.partition(".")[0]
    if first in ("imap", "pop", "pop3"):
        return [Slip("host", "This looks like the server for reading mail. The one for sending is often called smtp.")]
    if first == "www":
        return [Slip("host", "This looks like a website. The mail server is often called smtp or mail.")]
    return []


def _of_port(port: int | None, security: Security) -> list[Slip]:
    if port == 465 and security is Security.STARTTLS:
        return [Slip("security", "Port 465 nearly always goes with TLS; STARTTLS belongs to port 587.")]
    if port in (25, 587) and security is Security.TLS:
        return [Slip("security", f"Port {port} nearly always goes with STARTTLS; TLS belongs to port 465.")]
    if port in READING_PORTS:
        return [Slip("port", f"Port {port} is for reading mail ({READING_PORTS[port]}). For sending it is 587 or 465.")]
    if port == 25:
        return [Slip("port", "Many networks block port 25. If your provider offers port 587 or 465, use that.")]
    return []


def _of_credentials(
    auth: AuthMethod, security: Security, username: str, password: str, preset: Preset | None
) -> list[Slip]:
    found = []
    if auth is AuthMethod.NONE:
        if username or password:
            found.append(Slip("auth", "Authentication is set to none, so user name and password will not be used."))
        return found
    if username != username.strip():
        found.append(Slip("username", "There is a blank at the beginning or the end."))
    if _is_google(preset) and len(password.replace(" ", "")) == 16 and " " in password.strip():
        found.append(Slip("password", "Google shows app passwords with blanks in between. They can be left out."))
    elif password != password.strip():
        found.append(Slip("password", "There is a blank at the beginning or the end, perhaps from copying."))
    elif _is_google(preset) and password and len(password) != 16:
        found.append(Slip("password", "This does not look like an app password, which has 16 letters."))
    if username and security is Security.NONE:
        found.append(Slip("security", "Without encryption the password will not be sent. Choose STARTTLS or TLS."))
    if preset is not None and preset.from_is_username and username and "@" not in username:
        found.append(Slip("username", f"{preset.name} wants the whole email address as the user name."))
    return found


def _of_from(username: str, from_address: str, preset: Preset | None) -> list[Slip]:
    if preset is None or not preset.from_is_username or "@" not in username or not from_address:
        return []
    if username.strip().lower() == from_address.strip().lower():
        return []
    return [
        Slip(
            "username",
            f"{preset.name} sends only from the mailbox that signs in. Your outbound address is {from_address}; "
            "unless it is an alias of this user, the server will refuse it or replace it.",
        )
    ]


def _is_google(preset: Preset | None) -> bool:
    return preset is not None and preset.key in ("gmail", "google-workspace")
