"""Settings: the only reader of the environment. A malformed value stops the start and names its variable."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from email.utils import parseaddr
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from redis.connection import parse_url
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from panel.crypto import Keyring
from panel.message.addresses import InvalidAddress, normalise
from panel.smtp.destination import DestinationPolicy
from panel.smtp.resolver import OwnResolver
from panel.smtp.settings import ServerSettings, parse_smtp_url

T = TypeVar("T")

_ENCODED = "special characters in user and password must be percent-encoded"


class ConfigError(Exception):
    """One line that names the variable and the way out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mailbox:
    """A display name and an addr-spec (RFC 5322 §3.4)."""

    name: str
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """Lengths that tests make short. All in seconds."""

    lease: float = 60.0
    ticker: float = 5.0
    slice: float = 20.0
    connect: float = 15.0
    reply: float = 60.0
    final_reply: float = 600.0
    test_deadline: float = 18.0
    hold: float = 7 * 86400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything the environment says, typed."""

    data_dir: Path
    database_url: str = field(repr=False)
    redis_url: str = field(repr=False)
    secret_key: str = field(repr=False)
    keyring: Keyring
    public_url: str
    platform_server: ServerSettings
    platform_from: Mailbox
    smtp_policy: DestinationPolicy
    ehlo_name: str
    limit_tests: str
    limit_api: str
    limit_destinations: str
    signup_open: bool
    support_email: str | None
    support_url: str | None
    mailbox_dir: Path | None
    trusted_proxies: int
    keep_values_days: int | None
    tuning: Tuning

    @property
    def secure_cookies(self) -> bool:
        """Cookies are marked Secure exactly when the public URL is https."""
        return self.public_url.startswith("https://")

    @property
    def cookie_prefix(self) -> str:
        """Under https browsers hold a cookie named so to this very host (RFC 6265bis): no neighbour can plant one."""
        return "__Host-" if self.secure_cookies else ""

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Settings:
        """Reads the environment. Raises ConfigError with one line that names the first wrong variable."""
        env = os.environ if environ is None else environ
        data_dir = Path(env.get("OWNPOST_DATA_DIR") or "var").absolute()
        mailbox = env.get("OWNPOST_MAILBOX_DIR")
        return cls(
            data_dir=data_dir,
            database_url=_read(env, "DATABASE_URL", _database_url, f"sqlite:///{data_dir / 'ownpost.sqlite3'}"),
            redis_url=_read(env, "REDIS_URL", _redis_url),
            secret_key=_read(env, "OWNPOST_SECRET_KEY", _secret_key),
            keyring=_read(env, "OWNPOST_ENCRYPTION_KEYS", Keyring.parse),
            public_url=_read(env, "OWNPOST_PUBLIC_URL", _http_url, "http://127.0.0.1:8000"),
            platform_server=_read(env, "OWNPOST_PLATFORM_SMTP_URL", parse_smtp_url),
            platform_from=_read(env, "OWNPOST_PLATFORM_FROM", _from, "Ownpost <notifications@localhost>"),
            smtp_policy=_smtp_policy(env),
            ehlo_name=_read(env, "OWNPOST_EHLO_NAME", _ehlo_name, default_ehlo_name()),
            limit_tests=_read(env, "OWNPOST_LIMIT_TESTS", _rate, "10/minute;100/day"),
            limit_api=_read(env, "OWNPOST_LIMIT_API", _rate, "600/minute"),
            limit_destinations=_read(env, "OWNPOST_LIMIT_DESTINATIONS", _rate, "60/hour"),
            signup_open=_read(env, "OWNPOST_SIGNUP", _open_or_closed, "closed"),
            support_email=_read(env, "OWNPOST_SUPPORT_EMAIL", _optional_address, ""),
            support_url=_read(env, "OWNPOST_SUPPORT_URL", _optional_url, ""),
            mailbox_dir=Path(mailbox) if mailbox else None,
            trusted_proxies=_read(env, "OWNPOST_TRUSTED_PROXIES", _count, "0"),
            keep_values_days=_read(env, "OWNPOST_KEEP_VALUES_DAYS", _days, "0"),
            tuning=_tuning(env),
        )


def default_ehlo_name() -> str:
    """The machine's fully qualified name, or its address literal (RFC 5321 §4.1.3)."""
    name = socket.getfqdn()
    if "." in name and re.fullmatch(r"[A-Za-z0-9.-]+", name) and not name.endswith(".arpa"):
        return name
    return "[127.0.0.1]"


def _read(env: Mapping[str, str], name: str, parse: Callable[[str], T], default: str | None = None) -> T:
    value = env.get(name) or default
    if value is None:
        raise ConfigError(f"{name} is not set. `ownpost up` makes one; elsewhere set it yourself (see docs/deploy.md).")
    try:
        return parse(value)
    except ValueError as error:
        raise ConfigError(f"{name}: {error}") from None


def _smtp_policy(env: Mapping[str, str]) -> DestinationPolicy:
    ports = env.get("OWNPOST_SMTP_PORTS") or "25,465,587,2525"
    _read(env, "OWNPOST_SMTP_PORTS", lambda value: DestinationPolicy.parse(ports=value, allow=""), ports)
    allow = env.get("OWNPOST_SMTP_ALLOW") or ""
    policy = _read(
        env, "OWNPOST_SMTP_ALLOW", lambda value: DestinationPolicy.parse(ports=ports, allow=value.strip()), allow or " "
    )
    return replace(policy, resolver=_read(env, "OWNPOST_DNS_SERVERS", OwnResolver.parse, " "))


def _tuning(env: Mapping[str, str]) -> Tuning:
    known = {name: f"OWNPOST_{name.upper()}_SECONDS" for name in Tuning.__dataclass_fields__}
    given = {name: _read(env, variable, _seconds, "0") for name, variable in known.items() if env.get(variable)}
    return Tuning(**given)


def _seconds(value: str) -> float:
    seconds = float(value) if re.fullmatch(r"\d+(\.\d+)?", value) else 0.0
    if seconds <= 0:
        raise ValueError("must be a number of seconds above 0, such as 60")
    return seconds


def _count(value: str) -> int:
    if not value.isascii() or not value.isdigit():
        raise ValueError("must be a whole number, such as 1")
    return int(value)


def _days(value: str) -> int | None:
    if not value.isascii() or not value.isdigit():
        raise ValueError("must be a whole number of days, such as 90, or 0 to keep them for good")
    return int(value) or None


def _database_url(value: str) -> str:
    if value.startswith(("postgres://", "postgresql://")):
        value = "postgresql+psycopg://" + value.split("://", 1)[1]
    if not value.startswith(("sqlite:///", "postgresql+psycopg://")):
        raise ValueError("must start with sqlite:/// or postgresql+psycopg://")
    try:
        make_url(value)
    except (ArgumentError, ValueError):
        # The library's own message may quote a piece of the password, so it is not passed on; nor is Redis'.
        raise ValueError(f"is no URL of the form postgresql+psycopg://user:pass@host:5432/name; {_ENCODED}") from None
    return value


def _redis_url(value: str) -> str:
    if not value.startswith(("redis://", "rediss://", "unix://")):
        raise ValueError("must start with redis://, rediss:// or unix://")
    try:
        parse_url(value)  # type: ignore[no-untyped-call]  # redis ships no type for it
    except ValueError:
        raise ValueError(f"is no URL of the form redis://user:pass@host:6379/0; {_ENCODED}") from None
    return value


def _secret_key(value: str) -> str:
    if len(value) < 32:
        raise ValueError("must be at least 32 characters of chance")
    return value


def _http_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError("must be a web address such as https://mail.example.com")
    return value.rstrip("/")


def _optional_url(value: str) -> str | None:
    return _http_url(value) if value else None


def _optional_address(value: str) -> str | None:
    return _address(value) if value else None


def _address(value: str) -> str:
    # `localhost` has no dot, which a strict validator refuses; the platform's own default uses it.
    if re.fullmatch(r"[A-Za-z0-9._+-]+@localhost", value):
        return value
    try:
        return normalise(value)
    except InvalidAddress as error:
        raise ValueError(str(error)) from None


def _from(value: str) -> Mailbox:
    name, address = parseaddr(value)
    if not address:
        raise ValueError("must be an address such as Ownpost <notifications@example.com>")
    return Mailbox(name=name or "Ownpost", address=_address(address))


def _ehlo_name(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9.-]{1,253}|\[[A-Za-z0-9.:]+\]", value):
        raise ValueError("must be a host name or an address literal such as [192.0.2.1]")
    return value


def _rate(value: str) -> str:
    if not re.fullmatch(r"\d+/(minute|hour|day)(;\d+/(minute|hour|day))*", value):
        raise ValueError("must look like 10/minute;100/day")
    return value


def _open_or_closed(value: str) -> bool:
    if value not in ("open", "closed"):
        raise ValueError("must be open or closed")
    return value == "open"
