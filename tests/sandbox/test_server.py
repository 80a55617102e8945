"""The sandbox over real sockets, seen by another client than ours: Python's smtplib."""

from __future__ import annotations

import re
import signal
import smtplib
import socket
import ssl
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from panel.sandbox.certificates import Authority
from panel.sandbox.dialogue import visible
from panel.sandbox.script import Script
from panel.sandbox.server import SandboxServer
from tests.support.sandbox import Sandbox

SENDER, LETTER = "owner@example.org", "Subject: Hello\r\n\r\n.A dot\r\n"


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.new()


def client(server: SandboxServer) -> smtplib.SMTP:
    return smtplib.SMTP("127.0.0.1", server.port, local_hostname="client.example", timeout=10)


def trusting(authority: Authority) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=authority.pem)


def test_it_takes_letters_over_tls_after_a_sign_in(authority: Authority) -> None:
    told: list[str] = []
    server = SandboxServer(Script(), authority=authority, tell=lambda number, line: told.append(f"{number} {line}"))
    with server, client(server) as smtp:
        smtp.starttls(context=trusting(authority))
        smtp.ehlo()
        assert smtp.has_extn("8bitmime")
        assert not smtp.has_extn("starttls")
        smtp.login("owner@example.org", "canary-password")
        assert smtp.sendmail(SENDER, ["a@example.net"], LETTER) == {}
    assert any(line.upper() == "1 > RCPT TO:<A@EXAMPLE.NET>" for line in told)
    assert f"1 > (a letter of {len(LETTER) + 1:,} octets)" in told  # the dot is doubled on the wire
    assert "1 > AUTH CRAM-MD5 ***" in told
    assert not any("canary" in line for line in told)


def test_it_speaks_tls_first_and_with_an_address(authority: Authority) -> None:
    with (
        SandboxServer(Script.parse("tls: first"), authority=authority) as server,
        smtplib.SMTP_SSL("127.0.0.1", server.port, context=trusting(authority), timeout=10) as smtp,
    ):
        assert smtp.noop()[0] == 250


def test_it_answers_by_recipient(authority: Authority) -> None:
    script = Script.parse("RCPT bob@* -> 550 5.1.1 No such user\nRCPT -> 250 2.1.5 Fine")
    with SandboxServer(script, authority=authority) as server, client(server) as smtp:
        refused = smtp.sendmail(SENDER, ["bob@example.net", "ann@example.net"], LETTER)
        assert refused == {"bob@example.net": (550, b"5.1.1 No such user")}


def test_it_counts_over_connections_and_letters(authority: Authority) -> None:
    script = Script.parse("first 2 RCPT -> 451 4.7.1 Greylisted\nafter 1 letter -> 421 4.7.0 Enough; hang up")
    with SandboxServer(script, authority=authority) as server:
        for _ in range(2):
            with client(server) as smtp, pytest.raises(smtplib.SMTPRecipientsRefused):
                smtp.sendmail(SENDER, ["a@example.net"], LETTER)
        with client(server) as smtp:
            smtp.sendmail(SENDER, ["a@example.net"], LETTER)
            assert smtp.docmd("MAIL", f"FROM:<{SENDER}>")[0] == 421


def test_it_stops_while_it_stalls_or_waits(authority: Authority) -> None:
    for script in ("greeting -> stall", "greeting -> wait 900; usual", "greeting -> drip 900; usual"):
        begun = threading.Event()
        server = SandboxServer(Script.parse(script), authority=authority, tell=lambda *_, begun=begun: begun.set())
        with server:
            sock = socket.create_connection(("127.0.0.1", server.port), timeout=10)
            assert begun.wait(10)
        with sock:
            while sock.recv(100):
                pass
    assert not [thread for thread in threading.enumerate() if thread.name == "sandbox-peer"]


def test_it_refuses_a_line_without_an_end(authority: Authority) -> None:
    said = b""
    with (
        SandboxServer(Script(), authority=authority) as server,
        socket.create_connection(("127.0.0.1", server.port), timeout=10) as sock,
    ):
        sock.sendall(b"x" * 65_537)
        while octets := sock.recv(1000):
            said += octets
    assert b"500 5.5.6" in said


def test_it_finds_the_final_dot_in_whatever_pieces_it_comes(authority: Authority) -> None:
    script = Script.parse("offer: 8BITMIME\ntls: none")
    told: list[str] = []
    server = SandboxServer(script, authority=authority, tell=lambda _number, line: told.append(line))
    with server, client(server) as smtp:
        for octets in (b".\r\n", b"a\r\n.\r\n", b"a\r\n..\r\n\r\n.\r\n"):
            smtp.mail(SENDER)
            smtp.rcpt("a@example.net")
            assert smtp.docmd("DATA")[0] == 354
            for octet in octets:
                smtp.sock.sendall(bytes([octet]))
            assert smtp.getreply()[0] == 250
    assert [line for line in told if "a letter" in line] == [f"> (a letter of {size} octets)" for size in (0, 3, 9)]


def test_it_shows_nothing_that_a_terminal_would_obey() -> None:
    assert visible(b"MAIL \x1b[2J\x9b\r<x>") == "MAIL \\x1b[2J\ufffd\\r<x>"
    assert len(visible(b"x" * 10_000)) == 200


# ---- the command


def test_the_command_plays_a_file_and_ends_at_ctrl_c(tmp_path: Path) -> None:
    path = tmp_path / "mine.txt"
    path.write_text("MAIL -> 451 4.3.0 Not now\n")
    with Sandbox(tmp_path, "--script", str(path)) as playing:
        with smtplib.SMTP("127.0.0.1", playing.ports["mine.txt"], timeout=10) as smtp:
            smtp.starttls(context=ssl.create_default_context(cafile=str(playing.ca_file)))
            smtp.ehlo()
            assert smtp.mail(SENDER) == (451, b"4.3.0 Not now")
        playing.process.send_signal(signal.SIGINT)
        assert playing.process.wait(15) == 0
    assert any(re.fullmatch(r" +1 < 451 4\.3\.0 Not now", line) for line in playing.lines)


def test_its_authority_is_kept_beside_its_key(tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    first = Authority.kept(path).pem
    assert path.read_text() == first
    assert "PRIVATE" not in first
    assert (tmp_path / "ca.pem.key").stat().st_mode & 0o777 == 0o600
    again = Authority.kept(path)
    assert again.pem == first
    with SandboxServer(Script.parse("tls: first"), authority=again) as server:
        context = ssl.create_default_context(cadata=first)
        with smtplib.SMTP_SSL("127.0.0.1", server.port, context=context, timeout=10) as smtp:
            assert smtp.noop()[0] == 250
    path.write_text("something else")
    with pytest.raises(ValueError):
        Authority.kept(path)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--list"], "greylists"),
        (["--show", "greylists"], "first 3 RCPT -> 451"),
        (["--play", "nothing"], "--list shows what there is"),
        (["--play", "slow", "--play-all"], "Give one of"),
        (["--port", "0", "--host", "192.0.2.1"], "Cannot listen on 192.0.2.1 port 0"),
    ],
)
def test_the_command_says_what_there_is_and_what_is_wrong(arguments: list[str], words: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "panel.cli", "sandbox", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert words in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
