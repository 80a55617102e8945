"""Signing in: one try, never in the clear unless allowed, and only a 235 is a yes."""

import base64
import hmac

import pytest

from panel.smtp import auth
from panel.smtp.outcome import About, FailureCode, Verdict
from panel.smtp.reply import Reply
from panel.smtp.settings import AuthMethod
from tests.engines.smtp.kit import PASSWORD, USERNAME, Watcher, code_of_opening, failure_of_opening, session
from tests.support.mailserver import MailServer, Peer, ScriptedServer

IN_THE_CLEAR = {"username": USERNAME, "password": PASSWORD, "cleartext": True}


@pytest.mark.parametrize("method", ["auto", "plain", "login"])
def test_it_signs_in_at_a_real_server(method: str) -> None:
    with (
        MailServer(security="starttls", username=USERNAME, password="pässwörd €") as server,
        session(server.port, security="starttls", auth=method, username=USERNAME, password="pässwörd €") as client,
    ):
        client.open()
        assert client.reusable
        assert server.sign_ins == 1


def test_it_tries_a_wrong_password_once() -> None:
    watcher = Watcher()
    with MailServer(security="starttls", username=USERNAME, password=PASSWORD) as server:
        outcome = failure_of_opening(
            server.port, security="starttls", username=USERNAME, password="wrong-canary", observer=watcher
        )
        assert server.sign_ins == 1
    assert (outcome.failure, outcome.verdict, outcome.about) == (
        FailureCode.AUTH_FAILED,
        Verdict.PERMANENT,
        About.CREDENTIALS,
    )
    assert outcome.code == 535
    assert "wrong-canary" not in repr(outcome) + watcher.text


@pytest.mark.parametrize("method", ["auto", "plain", "login", "cram-md5"])
def test_it_never_signs_in_in_the_clear_unless_allowed(method: str) -> None:
    def script(peer: Peer) -> None:
        peer.greet("AUTH PLAIN LOGIN CRAM-MD5")
        peer.stall()

    with ScriptedServer(script) as server:
        code = code_of_opening(server.port, auth=method, username=USERNAME, password=PASSWORD)
    assert code is FailureCode.AUTH_NEEDS_TLS
    assert server.heard == [b"EHLO client.example"]


def test_it_does_not_sign_in_without_credentials_or_when_told_not_to() -> None:
    for options in ({}, {"auth": "none", "username": USERNAME, "password": PASSWORD}):
        watcher = Watcher()
        with MailServer() as server, session(server.port, observer=watcher, **options) as client:
            client.open()
            assert client.reusable
        assert watcher.ended()["auth"] == "skipped"


@pytest.mark.parametrize(
    ("reply", "code", "verdict"),
    [
        ("503 5.5.1 AUTH not advertised", FailureCode.AUTH_UNAVAILABLE, Verdict.PERMANENT),
        ("504 5.5.4 mechanism", FailureCode.AUTH_UNAVAILABLE, Verdict.PERMANENT),
        ("535 5.7.8 wrong", FailureCode.AUTH_FAILED, Verdict.PERMANENT),
        ("534 5.7.9 app password needed", FailureCode.AUTH_FAILED, Verdict.PERMANENT),
        ("538 5.7.11 encryption needed", FailureCode.AUTH_NEEDS_TLS, Verdict.PERMANENT),
        ("454 4.7.0 temporary failure", FailureCode.AUTH_TEMPORARY, Verdict.TEMPORARY),
        ("535 5.7.0 (#AUTH005) Too many bad auth attempts.", FailureCode.AUTH_TEMPORARY, Verdict.TEMPORARY),
        ("432 4.3.2 Concurrent connections limit exceeded", FailureCode.SERVER_BUSY, Verdict.TEMPORARY),
        ("421 4.7.0 try again later", FailureCode.SERVER_BUSY, Verdict.TEMPORARY),
        ("250 ok", FailureCode.PROTOCOL_ERROR, Verdict.TEMPORARY),
        ("334 VXNlcm5hbWU6", FailureCode.PROTOCOL_ERROR, Verdict.TEMPORARY),
        ("2350 ok", FailureCode.PROTOCOL_ERROR, Verdict.TEMPORARY),
    ],
)
def test_it_takes_only_a_235_for_a_yes(reply: str, code: FailureCode, verdict: Verdict) -> None:
    def script(peer: Peer) -> None:
        peer.greet("AUTH PLAIN")
        peer.hear("AUTH PLAIN ")
        peer.say(reply)
        peer.stall()

    with ScriptedServer(script) as server:
        outcome = failure_of_opening(server.port, **IN_THE_CLEAR)
    assert (outcome.failure, outcome.verdict) == (code, verdict)
    assert sum(b"AUTH" in line for line in server.heard) == 1


def test_it_speaks_cram_md5_as_the_rfc_shows_it() -> None:
    # The example of RFC 2195 section 2.
    said: list[bytes] = []

    def converse(line: bytes) -> Reply:
        said.append(line)
        challenge = base64.b64encode(b"<1896.697170952@postoffice.reston.mci.net>")
        return Reply(334, (challenge,)) if len(said) == 1 else Reply(235, (b"ok",))

    reply = auth.sign_in(method=AuthMethod.CRAM_MD5, username="tim", password="tanstaaftanstaaf", converse=converse)
    assert reply.code == 235
    assert said[0] == b"AUTH CRAM-MD5"
    assert base64.b64decode(said[1]) == b"tim b913a602c7eda7a495b4e6e7334d3890"


def test_it_signs_in_by_cram_md5_without_saying_the_password() -> None:
    challenge = b"<1.2@server>"

    def script(peer: Peer) -> None:
        peer.greet("AUTH PLAIN CRAM-MD5")
        peer.hear("AUTH CRAM-MD5")
        peer.say("334 " + base64.b64encode(challenge).decode())
        user, _, digest = base64.b64decode(peer.hear()).decode().rpartition(" ")
        assert user == USERNAME
        assert digest == hmac.new(PASSWORD.encode(), challenge, "md5").hexdigest()
        peer.say("235 welcome")
        peer.stall()

    with ScriptedServer(script) as server, session(server.port, **IN_THE_CLEAR) as client:
        client.open()
        assert client.reusable


def test_it_breaks_off_at_a_challenge_that_is_not_base64() -> None:
    def script(peer: Peer) -> None:
        peer.greet("AUTH CRAM-MD5")
        peer.hear("AUTH CRAM-MD5")
        peer.say("334 ***")
        peer.stall()

    with ScriptedServer(script) as server:
        assert code_of_opening(server.port, **IN_THE_CLEAR) is FailureCode.PROTOCOL_ERROR


def test_it_says_a_response_too_long_for_one_command_by_itself() -> None:
    long = "x" * 600

    def script(peer: Peer) -> None:
        peer.greet("AUTH PLAIN")
        assert peer.hear("AUTH PLAIN") == b"AUTH PLAIN"
        peer.say("334 ")
        assert base64.b64decode(peer.hear()) == f"\0{USERNAME}\0{long}".encode()
        peer.say("235 welcome")
        peer.stall()

    with (
        ScriptedServer(script) as server,
        session(server.port, username=USERNAME, password=long, cleartext=True) as client,
    ):
        client.open()
        assert client.reusable


@pytest.mark.parametrize(
    ("offer", "auth_method"), [("AUTH XOAUTH2 NTLM", "auto"), ("AUTH PLAIN", "login"), ("8BITMIME", "auto")]
)
def test_it_says_when_no_way_to_sign_in_fits(offer: str, auth_method: str) -> None:
    def script(peer: Peer) -> None:
        peer.greet(offer)
        peer.stall()

    with ScriptedServer(script) as server:
        outcome = failure_of_opening(server.port, auth=auth_method, **IN_THE_CLEAR)
    assert outcome.failure is FailureCode.AUTH_UNAVAILABLE
    if "XOAUTH2" in offer:
        assert "NTLM, XOAUTH2" in outcome.detail


def test_it_understands_the_old_form_of_the_offer() -> None:
    def script(peer: Peer) -> None:
        peer.greet("AUTH=LOGIN")
        peer.hear("AUTH LOGIN")
        peer.say("235 welcome")
        peer.stall()

    with ScriptedServer(script) as server, session(server.port, **IN_THE_CLEAR) as client:
        client.open()
        assert client.reusable


@pytest.mark.parametrize("method", ["plain", "login", "cram-md5"])
def test_it_blots_out_the_password_that_a_server_echoes(method: str) -> None:
    password = "Canary-Passw0rd €"

    def script(peer: Peer) -> None:
        peer.greet("AUTH PLAIN LOGIN CRAM-MD5")
        said = [peer.hear("AUTH")]
        if method != "plain":
            peer.say("334 " + base64.b64encode(b"<1.2@x>").decode())
            said.append(peer.hear())
        if method == "login":
            peer.say("334 UGFzc3dvcmQ6")
            said.append(peer.hear())
        echo = " ".join(line.decode() for line in said)
        peer.say(f"535-5.7.8 you said {echo} {echo.lower()}", f"535 5.7.8 that is {password}, {password.upper()}!")
        peer.stall()

    watcher = Watcher()
    with ScriptedServer(script) as server:
        outcome = failure_of_opening(
            server.port,
            auth=method,
            username=USERNAME,
            password=password,
            cleartext=True,
            observer=watcher,
        )
        secrets = {password.lower(), *(line.rpartition(b" ")[2].decode().lower() for line in server.heard[2:])}
        if method == "plain":
            secrets.add(server.heard[1].rpartition(b" ")[2].decode().lower())
    told = (repr(outcome) + watcher.text).lower()
    assert outcome.failure is FailureCode.AUTH_FAILED
    assert "[hidden]" in told
    assert not [secret for secret in secrets if secret.rstrip("=") in told]
