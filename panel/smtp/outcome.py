"""What came of talking to a mail server, typed, so that nobody above this engine reads SMTP text."""

from dataclasses import dataclass
from enum import StrEnum


class FailureCode(StrEnum):
    """Why it did not work; the names are a contract with pages, scripts and tests."""

    HOST_NOT_FOUND = "host_not_found"
    DESTINATION_NOT_ALLOWED = "destination_not_allowed"
    CONNECT_FAILED = "connect_failed"
    CONNECT_TIMEOUT = "connect_timeout"
    NOT_SMTP = "not_smtp"
    WRONG_SECURITY = "wrong_security"
    TLS_UNAVAILABLE = "tls_unavailable"
    CERTIFICATE_UNTRUSTED = "certificate_untrusted"
    CERTIFICATE_EXPIRED = "certificate_expired"
    CERTIFICATE_WRONG_HOST = "certificate_wrong_host"
    TLS_TOO_OLD = "tls_too_old"
    AUTH_UNAVAILABLE = "auth_unavailable"
    AUTH_NEEDS_TLS = "auth_needs_tls"
    AUTH_FAILED = "auth_failed"
    AUTH_TEMPORARY = "auth_temporary"
    SENDER_REFUSED = "sender_refused"
    RECIPIENT_REFUSED = "recipient_refused"
    MESSAGE_REFUSED = "message_refused"
    """The letter itself was refused, after DATA; a connection test never gets there."""
    SERVER_BUSY = "server_busy"
    PROTOCOL_ERROR = "protocol_error"
    TIMED_OUT = "timed_out"
    NO_WORKER = "no_worker"
    """Nothing took the test up in time; never an answer of a mail server, so the engine itself does not give it."""
    CANCELED = "canceled"


class Verdict(StrEnum):
    """What is known of the letter."""

    ACCEPTED = "accepted"
    """The server answered 2yz to the final dot: it has taken responsibility for the letter."""
    TEMPORARY = "temporary"
    """The server said no for now (4yz), or could not be reached: try again later."""
    PERMANENT = "permanent"
    """The server said no (5yz), or trying again without a change cannot help."""
    NOT_SENT = "not_sent"
    """The conversation broke before the final dot can have left: nothing was sent (RFC 5321 section 4.1.1.10)."""
    UNKNOWN = "unknown"
    """The final dot may have left and no valid reply came: the letter may or may not have been accepted."""


class About(StrEnum):
    """Whom or what the verdict is about, and so what a person has to look at."""

    SERVER = "server"
    CREDENTIALS = "credentials"
    SENDER = "sender"
    RECIPIENT = "recipient"
    MESSAGE = "message"
    QUOTA = "quota"


class Renewal(StrEnum):
    """When there is more of a quota that is used up."""

    SECOND = "second"
    """A limit by the second: after a few of them."""
    MINUTE = "minute"
    """A limit by the minute."""
    HOUR = "hour"
    """A limit by the hour."""
    DAY = "day"
    """A limit of 24 hours."""
    UNKNOWN = "unknown"
    """The server does not say, and its operator does not either."""


class Phase(StrEnum):
    """How far a session has got; always known, also from another thread."""

    CLOSED = "closed"
    RESOLVE = "resolve"
    CONNECT = "connect"
    GREETING = "greeting"
    TLS = "tls"
    HELLO = "hello"
    AUTH = "auth"
    READY = "ready"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    """DATA is said and its 354 awaited; no byte of the letter has left."""
    BODY = "body"
    """The letter's bytes flow, but not yet the last chunk, which holds the final dot."""
    FINAL_DOT = "final_dot"
    """The final dot may have left; its reply is awaited."""
    QUIT = "quit"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of one letter, or of opening or probing a server.

    `failure` is None exactly when it worked. `code` and `enhanced` are the server's reply code (RFC 5321 section 4.2)
    and enhanced status code (RFC 3463), where it gave a valid reply. `reply` is the server's own words, cleaned for
    showing; `detail` is ours. `bytes_sent` counts the octets of the letter's body handed to the network. `renews` is
    given for a quota; `come_back` is in how many seconds the server wants us back, where it said so.

    `stale` says that the connection ended before the server answered this letter's MAIL at all, without a word or with
    a 421, after it had served another letter or had lain idle: that says nothing of the letter, nor of the server.
    """

    verdict: Verdict
    about: About
    phase: Phase
    failure: FailureCode | None = None
    code: int | None = None
    enhanced: str | None = None
    reply: str | None = None
    detail: str = ""
    bytes_sent: int = 0
    renews: Renewal | None = None
    come_back: float | None = None
    stale: bool = False

    @property
    def accepted(self) -> bool:
        """Whether the server has taken the letter."""
        return self.verdict is Verdict.ACCEPTED


class SmtpFailure(Exception):
    """Opening or probing a server did not work; `outcome` says why and `outcome.failure` is never None."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(f"{outcome.failure} in phase {outcome.phase}: {outcome.detail}")
        self.outcome = outcome
