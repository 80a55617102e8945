"""A certificate authority of the owner's own, for one server: read from PEM (RFC 7468), and described to people."""

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from panel.smtp.reply import clean

MAX_PEM: Final = 64 * 1024
MAX_CERTIFICATES: Final = 20
_MAX_NAME: Final = 120
_NAMED_BY: Final = (NameOID.COMMON_NAME, NameOID.ORGANIZATIONAL_UNIT_NAME, NameOID.ORGANIZATION_NAME)


class PrivateKeyGiven(ValueError):
    """Among what was given is a private key, which nobody but its server may have."""


@dataclass(frozen=True, slots=True)
class TrustedCertificate:
    """One certificate as it is shown: whose it is, and until when it is good (UTC)."""

    subject: str
    expires: datetime

    @property
    def text(self) -> str:
        """The two in one line."""
        end = f"{self.expires.day} {self.expires:%b %Y}"
        return f"{self.subject}, {'valid until' if self.expires > datetime.now(UTC) else 'expired on'} {end}"


def read_authorities(text: str) -> str:
    """Return the certificates alone, each once, as PEM. Raises ValueError with a reason for the person who pasted it.

    What is given is what is trusted, so it may be a root, an intermediate, or the server's own certificate where
    nobody else has signed that: for this one server the owner has looked at it.
    """
    if "PRIVATE KEY-----" in text:
        raise PrivateKeyGiven("This holds a private key, which must stay with its server. Paste the certificate alone.")
    if len(text.encode()) > MAX_PEM:
        raise ValueError(f"This is longer than {MAX_PEM // 1024} KiB. Paste only your authority’s own certificate.")
    found = _certificates(text)
    if len(found) > MAX_CERTIFICATES:
        raise ValueError(f"These are more than {MAX_CERTIFICATES} certificates. Paste only your authority’s own.")
    if all(one.not_valid_after_utc <= datetime.now(UTC) for one in found):
        last = max(one.not_valid_after_utc for one in found)
        raise ValueError(f"This certificate expired on {last.day} {last:%b %Y}. Paste the one that replaced it.")
    pem = "".join(dict.fromkeys(one.public_bytes(Encoding.PEM).decode() for one in found))
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=pem)
    except ssl.SSLError:
        raise ValueError("This certificate cannot be used: it is damaged.") from None
    return pem


def described(pem: str) -> tuple[TrustedCertificate, ...]:
    """Return what there is to say about certificates that `read_authorities` has let through."""
    return tuple(TrustedCertificate(_name(one), one.not_valid_after_utc) for one in _certificates(pem))


def _certificates(text: str) -> list[x509.Certificate]:
    try:
        found = x509.load_pem_x509_certificates(text.encode())
        for one in found:
            _ = one.subject, one.not_valid_after_utc  # what is damaged within shows only when it is read
    except (ValueError, TypeError, x509.InvalidVersion):  # which it is depends on where the damage is
        raise ValueError("This is not a certificate in PEM form, or only a piece of one.") from None
    return found


def _name(certificate: x509.Certificate) -> str:
    for kind in _NAMED_BY:
        for one in certificate.subject.get_attributes_for_oid(kind):
            if name := clean(str(one.value))[:_MAX_NAME]:
                return name
    return clean(certificate.subject.rfc4514_string())[:_MAX_NAME] or "A certificate without a name"
