"""Certificates for a sandbox server, made when it starts: good ones, and each kind that must not be trusted."""

import ipaddress
import ssl
import tempfile
import warnings
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

NAMES: Final = ("localhost", "127.0.0.1", "::1")
WRONG_NAME: Final = "mail.another-host.example"
_LASTS = timedelta(days=90)
_VERSIONS: Final = {
    "1.0": ssl.TLSVersion.TLSv1,
    "1.1": ssl.TLSVersion.TLSv1_1,
    "1.2": ssl.TLSVersion.TLSv1_2,
    "1.3": ssl.TLSVersion.TLSv1_3,
}


class Authority:
    """A certificate authority of the sandbox's own: nobody trusts it who was not given `pem`."""

    def __init__(self, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
        self._key = key
        self._certificate = certificate

    @classmethod
    def new(cls, name: str = "Ownpost sandbox CA") -> Self:
        """Make one that lives as long as the process."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        now = datetime.now(UTC)
        certificate = (
            _builder(subject, subject, key, now - timedelta(days=1), now + _LASTS)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
            .sign(key, hashes.SHA256())
        )
        return cls(key, certificate)

    @classmethod
    def kept(cls, path: Path) -> Self:
        """Take the one in this file, its key beside it; make them if they are not there or no longer good.

        Raises OSError, and ValueError when the files hold something else.
        """
        secret = path.with_name(path.name + ".key")
        if path.exists() and secret.exists():
            found = cls(_private_key(secret.read_bytes()), x509.load_pem_x509_certificate(path.read_bytes()))
            if found._certificate.not_valid_after_utc > datetime.now(UTC) + timedelta(days=1):
                return found
        made = cls.new()
        secret.touch(mode=0o600)
        secret.chmod(0o600)
        secret.write_bytes(_text_of(made._key))
        path.write_text(made.pem)
        return made

    @property
    def pem(self) -> str:
        """Its own certificate: what a client has to trust."""
        return self._certificate.public_bytes(serialization.Encoding.PEM).decode()

    def context(self, *, certificate: str, version: str, names: tuple[str, ...] = NAMES) -> ssl.SSLContext:
        """Return a server's side of TLS with a certificate of this kind, of no newer version than this."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # that TLS 1.0 is old is why it is wanted here
            context.maximum_version = _VERSIONS[version]
            if version in ("1.0", "1.1"):
                context.set_ciphers("ALL:@SECLEVEL=0")
                context.minimum_version = _VERSIONS["1.0"]
        issuer = Authority.new("A CA that nobody knows") if certificate == "self-signed" else self
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "chain.pem"
            path.touch(mode=0o600)
            path.write_bytes(issuer._issued(certificate, names))
            context.load_cert_chain(path)
        return context

    def _issued(self, certificate: str, names: tuple[str, ...]) -> bytes:
        key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.now(UTC)
        begins, ends = now - timedelta(days=1), now + _LASTS
        if certificate == "expired":
            begins, ends = now - timedelta(days=20), now - timedelta(days=1)
        if certificate == "wrong-host":
            names = (WRONG_NAME,)
        made = (
            _builder(
                x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])]),
                self._certificate.subject,
                key,
                begins,
                ends,
            )
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([_alternative(name) for name in names]), critical=False)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        return _text_of(key) + made.public_bytes(serialization.Encoding.PEM)


def _text_of(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _private_key(text: bytes) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(text, password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("the key is none of the sandbox's")
    return key


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, begins: datetime, ends: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(ends)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
