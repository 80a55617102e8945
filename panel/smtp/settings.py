"""Where a mail server is and how to sign in there."""

import ipaddress
import re
from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import parse_qsl, unquote, urlsplit

import idna

MAX_HOST_LENGTH = 253  # RFC 1035 section 2.3.4 allows 255 octets on the wire, which is 253 characters of text
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")


class Security(StrEnum):
    """How the connection is encrypted."""

    TLS = "tls"
    """TLS from the first byte (RFC 8314 section 3.3), usually on port 465."""
    STARTTLS = "starttls"
    """A clear greeting, then STARTTLS before anything else (RFC 3207), usually on port 587."""
    NONE = "none"


class AuthMethod(StrEnum):
    """How to sign in: a SASL mechanism (RFC 4954), the best one offered, or not at all."""

    AUTO = "auto"
    PLAIN = "plain"
    LOGIN = "login"
    CRAM_MD5 = "cram-md5"
    NONE = "none"


DEFAULT_PORTS = {Security.TLS: 465, Security.STARTTLS: 587, Security.NONE: 25}


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """All that is needed to reach one mail server.

    Raises ValueError, in plain words, for a port outside 1-65535 and for a NUL in the credentials, which separates
    the fields of AUTH PLAIN (RFC 4616 section 2). The host is not checked here: `validate_host` is for what people
    type, and `destination.vet` refuses what may not be dialled.
    """

    host: str
    port: int
    security: Security
    auth: AuthMethod = AuthMethod.AUTO
    username: str = ""
    password: str = field(default="", repr=False)
    cleartext_auth_allowed: bool = False
    ca_certificate: str = ""
    """PEM of the only authorities that may vouch for this server; empty: those that the system trusts."""

    def __post_init__(self) -> None:
        if not 1 <= self.port <= 65535:
            raise ValueError("The port must be a number from 1 to 65535.")
        if "\0" in self.username:
            raise ValueError("The username holds a NUL character.")
        if "\0" in self.password:
            raise ValueError("The password holds a NUL character.")

    @property
    def wants_auth(self) -> bool:
        """Whether to sign in: a method is chosen and there is something to sign in with."""
        return self.auth is not AuthMethod.NONE and bool(self.username or self.password)


def parse_smtp_url(url: str) -> ServerSettings:
    """Read `smtp://user:pass@host:port?security=starttls|tls|none`, as an operator writes it.

    User and password are percent-encoded. Without `security` it is `starttls`; without a port, the usual one for it.
    Credentials beside `security=none` are the operator's own choice, so they may then travel in the clear.
    Raises ValueError with a plain reason that never repeats the URL, as it may hold a password.
    """
    try:
        parts = urlsplit(url)
        port, host = parts.port, parts.hostname
        query = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
    except ValueError:
        # The library's own message may quote a piece of the password, so it is not passed on.
        raise ValueError(
            "is not a URL of the form smtp://user:pass@host:port?security=starttls; "
            "special characters in user and password must be percent-encoded"
        ) from None
    if parts.scheme != "smtp":
        raise ValueError("must start with smtp://")
    if not host:
        raise ValueError("names no host")
    if parts.path not in ("", "/") or parts.fragment:
        raise ValueError("must not hold '/' or '#' after the host; percent-encode them in user and password")
    unknown = query.keys() - {"security"}
    if unknown:
        raise ValueError("takes no other option than security")
    try:
        security = Security(query.get("security", Security.STARTTLS))
    except ValueError:
        raise ValueError("security must be starttls, tls or none") from None
    return ServerSettings(
        host=validate_host(host),
        port=DEFAULT_PORTS[security] if port is None else port,
        security=security,
        username=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        cleartext_auth_allowed=security is Security.NONE,
    )


def validate_host(text: str) -> str:
    """Return a typed host name or IP address in the form it is stored and dialled.

    Names come back lower-case with international labels as A-labels (RFC 5891), without a final dot. Raises ValueError
    with a reason for the person who typed it. Whether the host may be dialled is another question, for `vet`.
    """
    host = text.strip(" \t")
    if not host:
        raise ValueError("Enter the server’s name, for example smtp.example.com.")
    if any(ord(char) < 32 or ord(char) == 127 for char in host):
        raise ValueError("The server’s name holds a line break or another control character.")
    _refuse_more_than_a_name(host)
    address = _ip_literal(host)
    if address is not None:
        return address
    if ":" in host:
        raise ValueError("Enter the server’s name alone: the port has its own field.")
    name = _a_labels(host.removesuffix("."))
    if len(name) > MAX_HOST_LENGTH:
        raise ValueError(f"The server’s name is longer than {MAX_HOST_LENGTH} characters.")
    if not all(_LABEL.fullmatch(label) for label in name.split(".")):
        raise ValueError("That is not a server’s name. It looks like smtp.example.com.")
    return name


def _refuse_more_than_a_name(host: str) -> None:
    if "://" in host or "/" in host:
        raise ValueError("Enter the server’s name alone, without http:// or a path.")
    if "@" in host:
        raise ValueError("That is an email address. Enter the server’s name, for example smtp.example.com.")
    if "[" in host or "]" in host:
        raise ValueError("Leave out the brackets.")
    if len(host) > MAX_HOST_LENGTH + 1:
        raise ValueError(f"The server’s name is longer than {MAX_HOST_LENGTH} characters.")


def _ip_literal(host: str) -> str | None:
    """Return the address in its shortest form when the host is a plain IPv4 or IPv6 address, else None."""
    if "%" in host:
        raise ValueError("A zone after % is not supported in an IPv6 address.")
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return None


def _a_labels(name: str) -> str:
    if name.isascii():
        return name.lower()
    try:
        return idna.encode(name, uts46=True).decode("ascii")
    except idna.IDNAError:
        raise ValueError("That is not a server’s name: it holds a character that no domain name may hold.") from None
