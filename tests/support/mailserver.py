"""Mail servers for tests, on loopback: a real one that takes mail, and one that plays any script, however bad."""

import select
import socket
import ssl
import struct
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import trustme
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword
from aiosmtpd.smtp import Session as ServerSession

PATIENCE = 10.0
"""Seconds after which a test server gives up on its client, so that a broken test ends."""


@cache
def authority() -> trustme.CA:
    """The one certificate authority of this process."""
    return trustme.CA()


@cache
def ca_pem_path() -> str:
    """A file with its certificate: what `SSL_CERT_FILE` is set to, or a context loads, to trust these servers."""
    path = Path(tempfile.mkdtemp(prefix="mailserver-ca-")) / "ca.pem"
    authority().cert_pem.write_to_path(str(path))
    return str(path)


def server_context(*names: str, **issue: Any) -> ssl.SSLContext:
    """A TLS context of a server whose certificate is for these names, or else for localhost and 127.0.0.1."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority().issue_cert(*(names or ("localhost", "127.0.0.1", "::1")), **issue).configure_cert(context)
    return context


@dataclass(frozen=True)
class Received:
    """One letter as it came: envelope, octets, and when (of `time.time`)."""

    sender: str
    recipients: tuple[str, ...]
    content: bytes
    at: float


Answer = Callable[[str, str], str | None]
"""Told MAIL or RCPT with its address, or DATA with the recipient, returns a reply instead of the usual one, or None."""


class MailServer:
    """A well-behaved server (aiosmtpd) on 127.0.0.1, with a certificate for localhost and 127.0.0.1.

    `security` is none, starttls or tls. With `username` and `password` it wants AUTH, offered only under TLS unless
    `security` is none. `answer` may put another reply in the place of its own. Use it as a context manager.
    """

    def __init__(
        self,
        *,
        security: str = "none",
        username: str | None = None,
        password: str | None = None,
        answer: Answer | None = None,
        port: int = 0,
    ) -> None:
        self.security, self.username, self.password = security, username, password
        self.answer: Answer = answer or (lambda _verb, _argument: None)
        self.messages: list[Received] = []
        self.connections = 0
        self.sign_ins = 0
        self.ca_pem_path = ca_pem_path()
        self._arrived = threading.Condition()
        self._controller = _Controller(self, port)

    def __enter__(self) -> Self:
        self._controller.start()
        # aiosmtpd has dialled itself, to see that it serves.
        self.connections = 0
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._controller.stop()

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._controller.server.sockets[0].getsockname()[1])

    def wait_for(self, count: int, timeout: float = PATIENCE) -> list[Received]:
        """Wait until so many letters have come, and return all that have."""
        with self._arrived:
            if not self._arrived.wait_for(lambda: len(self.messages) >= count, timeout):
                raise AssertionError(f"{len(self.messages)} of {count} letters came within {timeout} s")
            return list(self.messages)

    # What follows is called by aiosmtpd, by these names.

    async def handle_MAIL(  # noqa: N802 - aiosmtpd's name
        self, server: SMTP, session: ServerSession, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """MAIL FROM."""
        if self.username is not None and not session.authenticated:
            return "530 5.7.0 Authentication required"
        reply = self.answer("MAIL", address)
        if reply is None:
            envelope.mail_from = address
            envelope.mail_options.extend(options)
        return reply or "250 2.1.0 OK"

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, server: SMTP, session: ServerSession, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """RCPT TO."""
        reply = self.answer("RCPT", address)
        if reply is None:
            envelope.rcpt_tos.append(address)
        return reply or "250 2.1.5 OK"

    async def handle_DATA(  # noqa: N802 - aiosmtpd's name
        self, server: SMTP, session: ServerSession, envelope: Envelope
    ) -> str:
        """The letter, after its final dot."""
        content = envelope.original_content or b""
        reply = self.answer("DATA", envelope.rcpt_tos[0])
        if reply is None or reply.startswith("2"):
            with self._arrived:
                letter = Received(envelope.mail_from or "", tuple(envelope.rcpt_tos), content, time.time())
                self.messages.append(letter)
                self._arrived.notify_all()
        return reply or "250 2.0.0 OK accepted"

    def authenticate(
        self, server: SMTP, session: ServerSession, envelope: Envelope, mechanism: str, data: Any
    ) -> AuthResult:
        """AUTH PLAIN and LOGIN."""
        self.sign_ins += 1
        right = (
            isinstance(data, LoginPassword)
            and data.login.decode() == self.username
            and data.password.decode() == self.password
        )
        return AuthResult(success=right, handled=right)


class _Protocol(SMTP):
    """aiosmtpd's server, counting connections and without a look at DNS for its own name."""

    def connection_made(self, transport: Any) -> None:
        if self.transport is None:
            self.event_handler.connections += 1
        super().connection_made(transport)


class _Controller(Controller):
    def __init__(self, owner: MailServer, port: int) -> None:
        self._owner = owner
        context = server_context() if owner.security == "tls" else None
        super().__init__(owner, hostname="127.0.0.1", port=port, ssl_context=context, ready_timeout=PATIENCE)

    def factory(self) -> SMTP:
        owner = self._owner
        return _Protocol(
            owner,
            hostname="localhost",
            ident="test server",
            enable_SMTPUTF8=True,
            tls_context=server_context() if owner.security == "starttls" else None,
            require_starttls=owner.security == "starttls",
            authenticator=owner.authenticate if owner.username is not None else None,
            # Where TLS comes first aiosmtpd does not know of it, so it must not ask for STARTTLS before AUTH.
            auth_require_tls=owner.security == "starttls",
            loop=self.loop,
        )

    def _trigger_server(self) -> None:
        """Start serving a client by dialling ourselves, at the port that the system has chosen."""
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()


class ClientGone(Exception):
    """The client closed the connection; a script that waits for it just ends."""


@dataclass
class Peer:
    """The server's end of one connection, for a script to play with."""

    sock: socket.socket
    stopped: threading.Event
    heard: list[bytes] = field(default_factory=list)
    _buffer: bytes = b""

    @property
    def unheard(self) -> bytes:
        """What has come and was not heard yet."""
        return self._buffer

    def say(self, *lines: str | bytes) -> None:
        """Send lines, each with CRLF, in one write."""
        self.send(b"".join((line.encode() if isinstance(line, str) else line) + b"\r\n" for line in lines))

    def send(self, octets: bytes) -> None:
        """Send octets as they are."""
        try:
            self.sock.sendall(octets)
        except OSError as error:
            raise ClientGone from error

    def hear(self, start: str = "") -> bytes:
        """Read one line, which must start so; return it without CRLF."""
        while b"\n" not in self._buffer:
            self._receive()
        line, _, self._buffer = self._buffer.partition(b"\n")
        line = line.removesuffix(b"\r")
        self.heard.append(line)
        if not line.upper().startswith(start.upper().encode()):
            raise AssertionError(f"the client said {line!r} where {start!r} was expected")
        return line

    def hear_letter(self) -> bytes:
        """Read up to and with the final dot; return the octets as they came, without it."""
        while not (self._buffer.startswith(b".\r\n") or b"\r\n.\r\n" in self._buffer):
            self._receive()
        if self._buffer.startswith(b".\r\n"):
            self._buffer = self._buffer[3:]
            return b""
        letter, _, self._buffer = self._buffer.partition(b"\r\n.\r\n")
        return letter + b"\r\n"

    def read_some(self, count: int) -> None:
        """Read at least so many octets and forget them."""
        while len(self._buffer) < count:
            self._receive()
        self._buffer = b""

    def greet(self, *extensions: str) -> None:
        """Play a server's part up to the reply to EHLO."""
        self.say("220 test ready")
        self.hello(*extensions)

    def hello(self, *extensions: str) -> None:
        """Answer EHLO."""
        self.hear("EHLO")
        lines = ["test", *extensions]
        self.say(*(f"250{'-' if number < len(lines) else ' '}{line}" for number, line in enumerate(lines, 1)))

    def take_envelope(self) -> None:
        """Say yes to MAIL, RCPT and DATA."""
        for verb, reply in (("MAIL", "250 ok"), ("RCPT", "250 ok"), ("DATA", "354 go ahead")):
            self.hear(verb)
            self.say(reply)

    def start_tls(self, context: ssl.SSLContext) -> None:
        """Play the server's part of a TLS handshake; a client that goes away meanwhile ends the script."""
        try:
            self.sock = context.wrap_socket(self.sock, server_side=True)
        except OSError as error:
            raise ClientGone from error

    def drip(self, octets: bytes, every: float) -> None:
        """Send one octet at a time, for as long as the client stays."""
        for octet in octets:
            self.send(bytes([octet]))
            if self.stopped.wait(every):
                raise ClientGone

    def flood(self, octets: bytes, total: int) -> None:
        """Send the same octets over and over, up to a total."""
        piece = octets * max(1, 65536 // len(octets))
        for _ in range(total // len(piece)):
            self.send(piece)

    def stall(self) -> None:
        """Say nothing more until the client goes away or the server is stopped."""
        while not self.stopped.is_set():
            self._receive()

    def reset(self) -> None:
        """Cut the connection off with a RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def _receive(self) -> None:
        try:
            octets = self.sock.recv(65536)
        except OSError as error:
            raise ClientGone from error
        if not octets:
            raise ClientGone
        self._buffer += octets


Script = Callable[[Peer], None]


class ScriptedServer:
    """A raw server on 127.0.0.1 that plays a script for each connection, and hangs up when it ends.

    Of several scripts the first connection gets the first, and so on; the last one is played for all that follow.
    `heard` holds every line of every connection. What goes wrong in a script is raised when the server is left.
    """

    def __init__(self, *scripts: Script) -> None:
        self._scripts = scripts
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._wake_receiver, self._wake_sender = socket.socketpair()
        self._stopped = threading.Event()
        self._threads: list[threading.Thread] = []
        self._peers: list[Peer] = []
        self._problems: list[BaseException] = []
        self._growing = threading.Lock()
        self._listening = threading.Thread(target=self._listen, name="scripted-server", daemon=True)

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._listener.getsockname()[1])

    @property
    def connections(self) -> int:
        """How many connections there were."""
        return len(self._peers)

    @property
    def heard(self) -> list[bytes]:
        """Every line that a script has heard."""
        return [line for peer in self._peers for line in peer.heard]

    def __enter__(self) -> Self:
        self._listening.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        self._wake_sender.close()
        self._listening.join(PATIENCE)
        for thread, peer in zip(self._threads, self._peers, strict=True):
            _shut(peer.sock)
            thread.join(PATIENCE)
        for sock in (self._listener, self._wake_receiver, *(peer.sock for peer in self._peers)):
            sock.close()
        if self._problems and error is None:
            raise self._problems[0]

    def finish(self) -> None:
        """Wait until the scripts begun so far have ended."""
        with self._growing:
            begun = list(self._threads)
        for thread in begun:
            thread.join(PATIENCE)
            assert not thread.is_alive(), "the script did not end"

    def _listen(self) -> None:
        while True:
            ready, _, _ = select.select([self._listener, self._wake_receiver], [], [])
            if self._wake_receiver in ready:
                return
            sock, _ = self._listener.accept()
            sock.settimeout(PATIENCE)
            # What a script says has arrived when it goes on, and in the pieces in which it was said.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            peer = Peer(sock, self._stopped)
            script = self._scripts[min(len(self._peers), len(self._scripts) - 1)]
            thread = threading.Thread(target=self._play, args=(script, peer), name="scripted-peer", daemon=True)
            with self._growing:
                self._peers.append(peer)
                self._threads.append(thread)
                thread.start()

    def _play(self, script: Script, peer: Peer) -> None:
        try:
            script(peer)
        except ClientGone:
            pass
        except BaseException as problem:  # noqa: BLE001 - raised in the test's own thread when the server is left
            self._problems.append(problem)
        finally:
            _shut(peer.sock)
            peer.sock.close()


def _shut(sock: socket.socket) -> None:
    with suppress(OSError):
        socket.socket.shutdown(sock, socket.SHUT_RDWR)
