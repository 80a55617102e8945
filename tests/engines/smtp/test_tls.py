"""TLS: always verified, never left out, and each way it fails told apart."""

import ssl
from datetime import UTC, datetime, timedelta

import pytest
import trustme

from panel.smtp.outcome import FailureCode, Phase, Verdict
from panel.smtp.steps import Step
from tests.engines.smtp.kit import (
    PASSWORD,
    USERNAME,
    Watcher,
    code_of_opening,
    failure_of_opening,
    short,
)
from tests.support.mailserver import MailServer, Peer, ScriptedServer, server_context


def test_it_never_goes_on_in_the_clear_without_starttls() -> None:
    def script(peer: Peer) -> None:
        peer.greet("AUTH PLAIN LOGIN", "8BITMIME")
        peer.stall()

    with ScriptedServer(script) as server:
        assert (
            code_of_opening(server.port, security="starttls", username=USERNAME, password=PASSWORD)
            is FailureCode.TLS_UNAVAILABLE
        )
    assert server.heard == [b"EHLO client.example"]


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        ("454 TLS not available", FailureCode.TLS_UNAVAILABLE),
        ("502 not implemented", FailureCode.TLS_UNAVAILABLE),
        ("354 go ahead", FailureCode.PROTOCOL_ERROR),
        ("250 sure", FailureCode.PROTOCOL_ERROR),
        ("421 bye", FailureCode.SERVER_BUSY),
    ],
)
def test_it_names_a_refused_starttls(reply: str, code: FailureCode) -> None:
    def script(peer: Peer) -> None:
        peer.greet("STARTTLS")
        peer.hear("STARTTLS")
        peer.say(reply)
        peer.stall()

    with ScriptedServer(script) as server:
        assert code_of_opening(server.port, security="starttls") is code
    assert server.heard == [b"EHLO client.example", b"STARTTLS"]


@pytest.mark.parametrize("together", [True, False])
def test_it_refuses_what_was_injected_behind_the_220_to_starttls(together: bool) -> None:
    injected = b"250-AUTH PLAIN\r\n250 hello\r\n"

    def script(peer: Peer) -> None:
        peer.greet("STARTTLS")
        peer.hear("STARTTLS")
        peer.send(b"220 go ahead\r\n" + (injected if together else b""))
        if not together:
            peer.read_some(1)  # the handshake has begun
            peer.send(injected)
        peer.stall()

    with ScriptedServer(script) as server:
        outcome = failure_of_opening(server.port, security="starttls", username=USERNAME, password=PASSWORD)
    assert outcome.failure is FailureCode.PROTOCOL_ERROR
    assert not any(b"AUTH" in line for line in server.heard)


def test_it_forgets_what_was_offered_before_tls() -> None:
    def script(peer: Peer) -> None:
        peer.greet("STARTTLS", "AUTH PLAIN", "SMTPUTF8", "PIPELINING")
        peer.hear("STARTTLS")
        peer.say("220 go ahead")
        peer.start_tls(server_context())
        peer.hello("8BITMIME")
        peer.stall()

    with ScriptedServer(script) as server:
        assert (
            code_of_opening(server.port, security="starttls", username=USERNAME, password=PASSWORD)
            is FailureCode.AUTH_UNAVAILABLE
        )


def tls_first(context: ssl.SSLContext):
    def script(peer: Peer) -> None:
        peer.start_tls(context)
        peer.say("220 hi")
        peer.stall()

    return script


def self_signed() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("localhost").configure_cert(context)
    return context


def old_tls() -> ssl.SSLContext:
    context = server_context()
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    return context


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
@pytest.mark.parametrize(
    ("make", "code"),
    [
        (self_signed, FailureCode.CERTIFICATE_UNTRUSTED),
        (
            lambda: server_context("localhost", not_after=datetime.now(UTC) - timedelta(days=1)),
            FailureCode.CERTIFICATE_EXPIRED,
        ),
        (
            lambda: server_context("localhost", not_before=datetime.now(UTC) + timedelta(days=1)),
            FailureCode.CERTIFICATE_EXPIRED,
        ),
        (lambda: server_context("mail.example.com", "*.localhost"), FailureCode.CERTIFICATE_WRONG_HOST),
        (old_tls, FailureCode.TLS_TOO_OLD),
    ],
)
@pytest.mark.parametrize("security", ["tls", "starttls"])
def test_it_refuses_certificates_and_versions_that_are_not_good(make, code: FailureCode, security: str) -> None:
    context = make()

    def by_starttls(peer: Peer) -> None:
        peer.greet("STARTTLS")
        peer.hear("STARTTLS")
        peer.say("220 go ahead")
        tls_first(context)(peer)

    with ScriptedServer(tls_first(context) if security == "tls" else by_starttls) as server:
        outcome = failure_of_opening(server.port, security=security, username=USERNAME, password=PASSWORD)
    assert (outcome.failure, outcome.verdict, outcome.phase) == (code, Verdict.PERMANENT, Phase.TLS)
    assert not any(b"AUTH" in line for line in server.heard)


@pytest.mark.parametrize("security", ["tls", "starttls"])
def test_it_tells_an_observer_whom_a_certificate_names_that_is_for_another_host(security: str) -> None:
    context = server_context("mail.example.com", "example.com")

    def script(peer: Peer) -> None:
        if security == "starttls":
            peer.greet("STARTTLS")
            peer.hear("STARTTLS")
            peer.say("220 go ahead")
        tls_first(context)(peer)

    watcher = Watcher()
    with ScriptedServer(script) as server:
        assert code_of_opening(server.port, security=security, observer=watcher) is FailureCode.CERTIFICATE_WRONG_HOST
    assert "It names mail.example.com, example.com." in watcher.of(Step.TLS).detail


def test_it_says_wrong_security_when_a_clear_server_is_asked_for_tls() -> None:
    with MailServer(security="none") as server:
        assert code_of_opening(server.port, security="tls") is FailureCode.WRONG_SECURITY


@pytest.mark.parametrize("context", [server_context, self_signed])
@pytest.mark.parametrize("security", ["starttls", "none"])
def test_it_says_wrong_security_when_a_tls_server_waits_to_be_greeted(context, security: str) -> None:
    with ScriptedServer(tls_first(context())) as server:
        assert code_of_opening(server.port, security=security, timeouts=short(greeting=0.3)) == "wrong_security"


def test_it_gives_up_on_a_handshake_that_stalls() -> None:
    with ScriptedServer(Peer.stall) as server:
        assert code_of_opening(server.port, security="tls", timeouts=short(tls=0.3)) is FailureCode.TIMED_OUT
