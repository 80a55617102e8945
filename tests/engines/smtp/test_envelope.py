"""The envelope: extensions used where they are offered and needed, and addresses that end no command."""

import pytest

from panel.smtp.outcome import About, FailureCode, Verdict
from tests.engines.smtp.kit import (
    RECIPIENT,
    SENDER,
    send,
    session,
)
from tests.support.mailserver import MailServer, Peer, ScriptedServer


def test_it_uses_8bitmime_only_where_offered() -> None:
    offered: list[bool] = []

    def letter(eightbit: bool) -> bytes:
        offered.append(eightbit)
        return "Grüße\r\n".encode() if eightbit else b"Gr=C3=BC=C3=9Fe\r\n"

    def script(peer: Peer) -> None:
        peer.greet(*(["8BITMIME"] if len(offered) == 0 else []))
        peer.take_envelope()
        peer.hear_letter()
        peer.say("250 ok")
        peer.stall()

    with ScriptedServer(script) as server:
        for _ in range(2):
            with session(server.port) as client:
                client.open()
                outcome = client.send(sender=SENDER, recipient=RECIPIENT, letter=letter, before_body=lambda: None)
                assert outcome.accepted
        mails = [line for line in server.heard if line.startswith(b"MAIL")]
    assert offered == [True, False]
    assert mails == [b"MAIL FROM:<owner@example.org> BODY=8BITMIME", b"MAIL FROM:<owner@example.org>"]


def test_it_refuses_to_send_8_bits_where_only_7_go() -> None:
    with ScriptedServer(lambda peer: (peer.greet(), peer.stall())) as server, session(server.port) as client:
        client.open()
        with pytest.raises(ValueError, match="8BITMIME"):
            send(client, "Grüße\r\n".encode())


def test_it_declares_the_size_and_does_not_offer_what_is_too_large() -> None:
    def script(peer: Peer) -> None:
        peer.greet("SIZE 1000")
        peer.hear("MAIL FROM:<owner@example.org> SIZE=1000")

    with ScriptedServer(script) as server, session(server.port) as client:
        client.open()
        outcome = send(client, b"x" * 1001)
        assert (outcome.verdict, outcome.about) == (Verdict.PERMANENT, About.MESSAGE)
        assert outcome.failure is FailureCode.MESSAGE_REFUSED
        assert client.reusable
        send(client, b"x" * 1000)


def test_it_uses_smtputf8_only_for_addresses_that_need_it() -> None:
    with MailServer() as server, session(server.port) as client:
        client.open()
        assert send(client, recipient="jürgen@bücher.example").accepted
        assert send(client, recipient="juergen@bücher.example").accepted
        first, second = server.wait_for(2)
    assert first.recipients == ("jürgen@xn--bcher-kva.example",)
    assert second.recipients == ("juergen@xn--bcher-kva.example",)


def test_it_says_so_when_an_address_needs_smtputf8_and_there_is_none() -> None:
    def script(peer: Peer) -> None:
        peer.greet("8BITMIME")
        peer.hear("MAIL")
        peer.say("250 ok")
        peer.stall()

    with ScriptedServer(script) as server, session(server.port) as client:
        client.open()
        outcome = send(client, recipient="jürgen@example.net")
        assert (outcome.verdict, outcome.about) == (Verdict.PERMANENT, About.RECIPIENT)
        assert outcome.failure is FailureCode.RECIPIENT_REFUSED
        assert server.heard == [b"EHLO client.example"]
        assert client.reusable


@pytest.mark.parametrize(
    "address",
    [
        "a\r\nRCPT TO:<x@y.z>@b.c",
        "a@b.c\r\nDATA",
        "a\n@b.c",
        "a\0@b.c",
        "a@b.c>",
        "<a@b.c",
        "a b@c.d",
        "a@b c",
        "a",
        "",
    ],
)
def test_it_never_says_an_address_that_could_end_the_command(address: str) -> None:
    with ScriptedServer(lambda peer: (peer.greet(), peer.stall())) as server, session(server.port) as client:
        client.open()
        for options, about in (({"recipient": address}, About.RECIPIENT), ({"sender": address}, About.SENDER)):
            outcome = send(client, **options)
            assert (outcome.verdict, outcome.about) == (Verdict.PERMANENT, about)
        assert server.heard == [b"EHLO client.example"]
