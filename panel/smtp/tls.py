"""TLS towards a mail server: 1.2 or newer, always verified against the name asked for (RFC 8314, RFC 8996)."""

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

from panel.smtp.outcome import FailureCode
from panel.smtp.trouble import Broken

# Verification results of OpenSSL, from x509_vfy.h.
_NOT_YET_VALID, _EXPIRED, _HOSTNAME_MISMATCH, _IP_ADDRESS_MISMATCH = 9, 10, 62, 64
# Reasons of OpenSSL that mean: the other side has no protocol version, cipher or key that is still good enough.
_TOO_OLD = (
    "PROTOCOL_VERSION",
    "UNSUPPORTED_PROTOCOL",
    "WRONG_SSL_VERSION",
    "NO_PROTOCOLS_AVAILABLE",
    "HANDSHAKE_FAILURE",
    "INSUFFICIENT_SECURITY",
    "NO_SHARED_CIPHER",
    "KEY_TOO_SMALL",
    "DH_KEY_TOO_SMALL",
    "MD_TOO_WEAK",
    "LEGACY_RENEGOTIATION",
)
# Reasons that mean: what came back was not TLS at all.
_NOT_TLS = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNKNOWN_PROTOCOL", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER")


@dataclass(frozen=True, slots=True)
class TlsSummary:
    """What was agreed on: protocol version, like "TLS 1.3", and of the certificate its names and its end (UTC)."""

    version: str
    certificate_expires: datetime
    names: tuple[str, ...]

    @property
    def text(self) -> str:
        """The summary as it is shown."""
        expires = self.certificate_expires
        return f"{self.version}, certificate valid until {expires.day} {expires:%b %Y}"


def tls_context(*, any_name: bool = False, authorities: str = "") -> ssl.SSLContext:
    """Return a context that trusts what the system trusts, or the authorities in the file `SSL_CERT_FILE` names.

    Given `authorities` (PEM) it trusts those and nothing else: who has one of their own means that one, and then no
    other authority in the world can vouch for a server that poses as theirs.

    Reading the authorities takes milliseconds, so contexts are kept, one for each place they were read from. With
    `any_name` a trusted certificate will do whomever it names: good for asking whom, and for nothing else.
    """
    return _context(ssl.get_default_verify_paths(), any_name, authorities)


@lru_cache(maxsize=64)
def _context(_paths: ssl.DefaultVerifyPaths, any_name: bool, authorities: str) -> ssl.SSLContext:
    if authorities:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=authorities)
        # An intermediate, or the server's own certificate, may be what was given.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    else:
        context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = not any_name
    return context


def summary(sock: ssl.SSLSocket) -> TlsSummary:
    """Describe a connection whose handshake is done. Raises Broken for a certificate that breaks its own rules."""
    try:
        certificate = sock.getpeercert() or {}
        expires = ssl.cert_time_to_seconds(str(certificate["notAfter"]))
    except (ValueError, ssl.SSLError) as error:
        # Its name was found in it, and yet it holds what no certificate may, like a name that is no text (RFC 5280).
        raise Broken(FailureCode.CERTIFICATE_UNTRUSTED, "The server’s certificate is not well-formed.") from error
    alternatives = certificate.get("subjectAltName", ())
    return TlsSummary(
        version=(sock.version() or "TLS").replace("TLSv", "TLS "),
        certificate_expires=datetime.fromtimestamp(expires, UTC),
        names=tuple(str(entry[1]) for entry in alternatives if isinstance(entry, tuple)),
    )


def handshake_failure(error: OSError, *, after_starttls: bool) -> Broken:
    """Say what a failed handshake means.

    Plain text instead of TLS means the wrong kind of security when TLS should come first. After a 220 to STARTTLS it
    means that the server, or somebody in between, said more than it may.
    """
    if isinstance(error, TimeoutError):
        return Broken(FailureCode.TIMED_OUT, "The server did not finish setting up TLS in time.")
    if isinstance(error, ssl.SSLCertVerificationError):
        return _certificate_failure(error)
    reason = getattr(error, "reason", None) or ""
    if any(mark in reason for mark in _TOO_OLD):
        return Broken(FailureCode.TLS_TOO_OLD, "The server and Ownpost have no safe version of TLS in common.")
    if after_starttls:
        return Broken(FailureCode.PROTOCOL_ERROR, "The server agreed to TLS and then did not set it up.")
    if any(mark in reason for mark in _NOT_TLS):
        return Broken(FailureCode.WRONG_SECURITY, "The server does not start with TLS on this port.")
    return Broken(FailureCode.PROTOCOL_ERROR, "The server hung up while TLS was being set up.")


def _certificate_failure(error: ssl.SSLCertVerificationError) -> Broken:
    if error.verify_code in (_HOSTNAME_MISMATCH, _IP_ADDRESS_MISMATCH):
        return Broken(FailureCode.CERTIFICATE_WRONG_HOST, "The server’s certificate is made out to another name.")
    if error.verify_code == _EXPIRED:
        return Broken(FailureCode.CERTIFICATE_EXPIRED, "The server’s certificate has expired.")
    if error.verify_code == _NOT_YET_VALID:
        return Broken(FailureCode.CERTIFICATE_EXPIRED, "The server’s certificate is not valid yet.")
    return Broken(
        FailureCode.CERTIFICATE_UNTRUSTED, "The server’s certificate does not come from an authority that is trusted."
    )
