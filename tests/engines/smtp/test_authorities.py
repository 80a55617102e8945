"""A certificate authority of the owner's own: what is taken for one, and whom alone it lets through."""

from __future__ import annotations

import ssl
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtensionOID, NameOID

from panel.sandbox.certificates import Authority
from panel.smtp.authorities import MAX_PEM, PrivateKeyGiven, described, read_authorities
from panel.smtp.destination import DestinationPolicy
from panel.smtp.outcome import FailureCode, SmtpFailure
from panel.smtp.session import Session
from panel.smtp.settings import Security, ServerSettings
from panel.smtp.tls import tls_context
from tests.engines.smtp.kit import PATIENT, Watcher
from tests.support.mailserver import Peer, ScriptedServer, authority, server_context


def pem(ca: trustme.CA) -> str:
    return ca.cert_pem.bytes().decode()


def signed_by(ca: trustme.CA, *names: str, **issue: object) -> tuple[ssl.SSLContext, str]:
    """A server's side of TLS, and the server's own certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    leaf = ca.issue_cert(*(names or ("localhost",)), **issue)  # type: ignore[arg-type]
    leaf.configure_cert(context)
    return context, leaf.cert_chain_pems[0].bytes().decode()


def code(context: ssl.SSLContext, trusted: str, *, security: str = "tls", watcher: Watcher | None = None) -> str | None:
    """What a session that trusts this makes of a server; None when it opens."""

    def script(peer: Peer) -> None:
        if security == "starttls":
            peer.greet("STARTTLS")
            peer.hear("STARTTLS")
            peer.say("220 go ahead")
        peer.start_tls(context)
        if security == "tls":
            peer.say("220 hi")
        peer.hello("8BITMIME")
        peer.stall()

    with ScriptedServer(script) as server:
        settings = ServerSettings(
            host="localhost", port=server.port, security=Security(security), ca_certificate=read_authorities(trusted)
        )
        policy = DestinationPolicy.parse(ports="25", allow=f"127.0.0.1:{server.port}")
        session = Session(
            settings=settings, policy=policy, ehlo_name="client.example", timeouts=PATIENT, observer=watcher
        )
        with session:
            try:
                session.open()
            except SmtpFailure as failure:
                return failure.outcome.failure
    return None


@pytest.mark.parametrize("security", ["tls", "starttls"])
def test_it_trusts_the_authority_that_was_given(security: str) -> None:
    ca = trustme.CA()
    context, _ = signed_by(ca)
    assert code(context, pem(ca), security=security) is None


@pytest.mark.parametrize("security", ["tls", "starttls"])
def test_it_then_trusts_nobody_else_not_even_whom_the_system_trusts(security: str) -> None:
    # The tests' authority stands for the system's: `SSL_CERT_FILE` names it.
    assert code(server_context(), pem(trustme.CA()), security=security) is FailureCode.CERTIFICATE_UNTRUSTED
    assert code(server_context(), pem(authority()), security=security) is None


def test_the_name_and_the_dates_are_verified_all_the_same() -> None:
    ca = trustme.CA()
    wrong, _ = signed_by(ca, "mail.example.com")
    watcher = Watcher()
    assert code(wrong, pem(ca), watcher=watcher) is FailureCode.CERTIFICATE_WRONG_HOST
    assert "It names mail.example.com." in watcher.text
    expired, _ = signed_by(ca, not_after=datetime.now(UTC) - timedelta(days=1))
    assert code(expired, pem(ca)) is FailureCode.CERTIFICATE_EXPIRED


def test_it_trusts_a_servers_own_certificate_and_an_intermediate() -> None:
    context, leaf = signed_by(trustme.CA())
    assert code(context, leaf) is None
    root = trustme.CA()
    middle = root.create_child_ca()
    context, _ = signed_by(middle)
    assert code(context, pem(middle)) is None


def test_it_trusts_a_certificate_that_has_signed_itself() -> None:
    context, text = self_signed("localhost")
    assert code(context, text) is None
    other, _ = self_signed("localhost")
    assert code(other, text) is FailureCode.CERTIFICATE_UNTRUSTED


@pytest.mark.parametrize("kind", [0x81, 0x82, 0x86], ids=["mailbox", "host", "url"])
def test_it_trusts_none_with_a_name_that_is_no_text(kind: int) -> None:
    names = b"\x82\x09localhost" + bytes([kind]) + b"\x02\xff\xfe"
    encoded = b"\x30" + bytes([len(names)]) + names
    context, text = self_signed(
        "localhost", names=x509.UnrecognizedExtension(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, encoded)
    )
    assert code(context, text) is FailureCode.CERTIFICATE_UNTRUSTED


def test_it_is_never_older_than_tls_1_2() -> None:
    context = tls_context(authorities=read_authorities(pem(trustme.CA())))
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname


# ---- what is pasted


def test_it_keeps_the_certificates_alone_and_each_once() -> None:
    one, other = pem(trustme.CA()), pem(trustme.CA())
    typed = f"Here you are:\r\n{one}\n\n{other}{one}thanks".replace("\n", "\r\n")
    assert read_authorities(typed) == one + other
    assert read_authorities(read_authorities(typed)) == one + other


def test_it_describes_each_by_name_and_end() -> None:
    ca = trustme.CA(organization_name="Acme\x1b[31m CA")
    (found,) = described(read_authorities(pem(ca)))
    assert found.text.endswith("valid until 1 Jan 3000")
    assert found.text.isprintable()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("hello", "not a certificate in PEM form"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "not a certificate in PEM form"),
        ("-----BEGIN CERTIFICATE-----\n", "not a certificate in PEM form"),
        ("x" * (MAX_PEM + 1), "longer than 64 KiB"),
    ],
)
def test_it_says_what_is_wrong_with_what_was_pasted(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read_authorities(text)


@pytest.mark.filterwarnings("ignore:Parsed a serial number")
def test_it_says_so_of_a_certificate_that_is_damaged_anywhere() -> None:
    whole = Authority.new("Acme").pem
    octets = ssl.PEM_cert_to_DER_cert(whole)
    version, bits = octets.index(b"\xa0\x03\x02\x01\x02") + 4, octets.replace(b"\x0c\x04Acme", b"\x03\x04\x00cme")
    damaged = [octets[:place] + bytes([new]) + octets[place + 1 :] for place in range(len(octets)) for new in (3, 255)]
    refused = 0
    for changed in (octets[:version] + b"\x50" + octets[version + 1 :], bits, *damaged):
        try:
            described(read_authorities(ssl.DER_cert_to_PEM_cert(changed)))
        except ValueError:
            refused += 1
    assert refused > len(octets) / 2


def test_it_takes_no_private_key() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    for form in (PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL):
        secret = key.private_bytes(Encoding.PEM, form, NoEncryption()).decode()
        with pytest.raises(PrivateKeyGiven):
            read_authorities(pem(trustme.CA()) + secret)


def test_it_takes_none_that_has_expired_and_not_very_many() -> None:
    _, expired = self_signed("localhost", ends=datetime.now(UTC) - timedelta(days=1))
    with pytest.raises(ValueError, match="This certificate expired on"):
        read_authorities(expired)
    one = pem(trustme.CA())
    assert read_authorities(expired + one) == expired + one
    with pytest.raises(ValueError, match="more than 20"):
        read_authorities(one * 21)


def self_signed(
    name: str, *, ends: datetime | None = None, names: x509.ExtensionType | None = None
) -> tuple[ssl.SSLContext, str]:
    """A certificate of a server that nobody else has signed, as `openssl req -x509` makes it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    end = ends or datetime.now(UTC) + timedelta(days=1)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(end - timedelta(days=2))
        .not_valid_after(end)
        .add_extension(names or x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    text = made.public_bytes(Encoding.PEM).decode()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "both.pem"
        path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + text.encode())
        context.load_cert_chain(path)
    return context, text
