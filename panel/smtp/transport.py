"""The connection: a socket to a vetted address, with an end to every wait and a bound on every reply."""

import socket
import ssl
import threading
import time
from collections.abc import Sequence
from contextlib import suppress

from panel.smtp.destination import VettedAddress
from panel.smtp.outcome import FailureCode
from panel.smtp.reply import MalformedReply, Reply, ReplyReader
from panel.smtp.tls import TlsSummary, handshake_failure, summary
from panel.smtp.trouble import Broken

RECEIVE = 16 * 1024


class Transport:
    """One connection. Every method but `abort` belongs to the thread that talks; deadlines are of `time.monotonic`.

    All trouble is raised as Broken: `canceled` after `abort`, whatever the socket itself said.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sock: socket.socket | None = None
        self._replies = ReplyReader()
        self._speaks_smtp = False
        self._aborted = False

    @property
    def is_open(self) -> bool:
        """Whether there is a connection that was not closed from here."""
        return self._sock is not None

    @property
    def aborted(self) -> bool:
        """Whether another thread has put an end to it."""
        return self._aborted

    @property
    def pending(self) -> bool:
        """Whether the server has said more than it was asked."""
        return self._replies.pending

    def connect(self, addresses: Sequence[VettedAddress], *, deadline: float, each: float) -> VettedAddress:
        """Dial the addresses in turn, `each` seconds at most for one, and return the one that answered."""
        trouble = Broken(FailureCode.CONNECT_FAILED, "There is no address to dial.")
        for position, address in enumerate(addresses):
            now = time.monotonic()
            share = (deadline - now) / (len(addresses) - position)
            try:
                self._dial(address, now + min(each, share))
            except Broken as problem:
                if problem.failure is FailureCode.CANCELED:
                    raise
                if trouble.failure is not FailureCode.CONNECT_TIMEOUT:
                    trouble = problem
            else:
                return address
        raise trouble

    def _dial(self, address: VettedAddress, deadline: float) -> None:
        sock = socket.socket(address.family, socket.SOCK_STREAM)
        self._adopt(sock)
        try:
            sock.settimeout(_left(deadline))
            sock.connect(address.sockaddr)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        except OSError as error:
            self.close()
            if isinstance(error, TimeoutError):
                raise self._broken(FailureCode.CONNECT_TIMEOUT, "The server did not answer in time.") from error
            raise self._broken(FailureCode.CONNECT_FAILED, "The server refused the connection.") from error
        if self._aborted:
            raise self._broken(FailureCode.CANCELED, "")

    def _adopt(self, sock: socket.socket) -> None:
        with self._lock:
            if self._aborted:
                sock.close()
                raise self._broken(FailureCode.CANCELED, "")
            self._sock = sock
            self._replies = ReplyReader()
            self._speaks_smtp = False

    def start_tls(
        self, *, context: ssl.SSLContext, host: str, deadline: float, after_starttls: bool = False
    ) -> TlsSummary:
        """Put TLS on the connection and verify the server's certificate for `host`."""
        if self.pending:
            # Whatever came in the clear behind the 220 was not said by whom TLS will vouch for (RFC 3207 section 6).
            raise self._broken(FailureCode.PROTOCOL_ERROR, "The server said something between agreeing to TLS and TLS.")
        try:
            with self._lock:
                sock = context.wrap_socket(self._connected(), server_hostname=host, do_handshake_on_connect=False)
                self._sock = sock
            sock.settimeout(_left(deadline))
            sock.do_handshake()
        except OSError as error:
            problem = handshake_failure(error, after_starttls=after_starttls)
            raise self._broken(problem.failure, problem.detail) from error
        return summary(sock)

    def write(self, octets: bytes | memoryview, deadline: float) -> None:
        """Send all of it."""
        sock, rest = self._connected(), memoryview(octets)
        try:
            while rest:
                sock.settimeout(_left(deadline))
                rest = rest[sock.send(rest) :]
        except TimeoutError as error:
            raise self._broken(FailureCode.TIMED_OUT, "The server stopped taking what was sent.") from error
        except OSError as error:
            raise self._broken(FailureCode.PROTOCOL_ERROR, "The server hung up in mid-conversation.") from error

    def read_reply(self, deadline: float) -> Reply:
        """Wait for one whole reply. The failure is `not_smtp` when the very first one does not even begin like one."""
        try:
            while (reply := self._replies.next()) is None:
                self._replies.feed(self._receive(deadline))
        except MalformedReply as problem:
            foreign = problem.foreign and not self._speaks_smtp
            failure = FailureCode.NOT_SMTP if foreign else FailureCode.PROTOCOL_ERROR
            raise self._broken(failure, str(problem)) from problem
        self._speaks_smtp = True
        return reply

    def _receive(self, deadline: float) -> bytes:
        sock = self._connected()
        try:
            sock.settimeout(_left(deadline))
            octets = sock.recv(RECEIVE)
        except TimeoutError as error:
            raise self._broken(FailureCode.TIMED_OUT, "The server did not answer in time.") from error
        except OSError as error:
            raise self._broken(FailureCode.PROTOCOL_ERROR, "The connection was cut off.") from error
        if not octets:
            raise self._broken(FailureCode.PROTOCOL_ERROR, "The server hung up in mid-conversation.")
        return octets

    def abort(self) -> None:
        """End whatever the connection waits for, from another thread, and let nothing more begin."""
        with self._lock:
            self._aborted = True
            if self._sock is not None:
                with suppress(OSError):
                    # The method of the plain socket: that of SSLSocket would take TLS away under the other thread.
                    socket.socket.shutdown(self._sock, socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection at once; nothing that was not written yet will be."""
        with self._lock:
            if self._sock is not None:
                self._sock.close()
                self._sock = None

    def _connected(self) -> socket.socket:
        if self._sock is None:
            raise self._broken(FailureCode.PROTOCOL_ERROR, "There is no connection.")
        return self._sock

    def _broken(self, failure: FailureCode, detail: str) -> Broken:
        return Broken(FailureCode.CANCELED, "Canceled.") if self._aborted else Broken(failure, detail)


def _left(deadline: float) -> float:
    """Return the seconds until the deadline, and never 0, which a socket takes for "do not wait at all"."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
