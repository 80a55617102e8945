"""The connection: a socket to a vetted address, with an end to every wait and a bound on every reply.

The socket does not block: what can be done at once costs one system call, and only what must wait is waited for.
"""

import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

from panel.smtp.destination import VettedAddress
from panel.smtp.outcome import FailureCode
from panel.smtp.reply import MAX_TOTAL, MalformedReply, Reply, ReplyReader
from panel.smtp.tls import TlsSummary, handshake_failure, summary
from panel.smtp.trouble import Broken, SpokeEarly

RECEIVE = 16 * 1024
TLS_RECORD = 16 * 1024
"""Octets of one record (RFC 8446 section 5.1): what TLS takes at once is one, so that it leaves as a whole or not."""

_MUST_WAIT = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


Wait = Callable[[socket.socket, int, float], int]
"""How to wait for a socket: what `wait_in_thread` does, or whoever runs many connections by turns in one thread."""


class Transport:
    """One connection. Every method but `abort` belongs to the thread that talks; deadlines are of `time.monotonic`.

    All trouble is raised as Broken: after `abort` as that says, whatever the socket itself said. `written` counts the
    octets handed to the network so far: what is not in it has not left, also when `write` raises.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sock: socket.socket | None = None
        self._wait: Wait = wait_in_thread
        self._replies = ReplyReader()
        self._speaks_smtp = False
        self._aborted = self._late = False
        self._cut_short = False
        self._at_once: int | None = None
        self.written = 0

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
        """Whether more has been read than the replies that were asked for."""
        return self._replies.pending

    def wait_by(self, wait: Wait | None) -> None:
        """Wait for the socket in this way from now on; None: in the thread that talks."""
        self._wait = wait or wait_in_thread

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
        try:
            sock = socket.socket(address.family, socket.SOCK_STREAM)
        except OSError as error:  # there is no network of this family here, or no file is left to open
            raise self._broken(FailureCode.CONNECT_FAILED, "No connection can be opened from here.") from error
        self._adopt(sock)
        try:
            sock.settimeout(_left(deadline))
            sock.connect(address.sockaddr)
            sock.setblocking(False)
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
            self._speaks_smtp = self._cut_short = False
            self._at_once = None

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
                self._at_once = TLS_RECORD
            self._shake_hands(sock, deadline)
        except OSError as error:
            problem = handshake_failure(error, after_starttls=after_starttls)
            raise self._broken(problem.failure, problem.detail) from error
        return summary(sock)

    def _shake_hands(self, sock: ssl.SSLSocket, deadline: float) -> None:
        while True:
            try:
                return sock.do_handshake()
            except _MUST_WAIT as wish:
                self._wait(sock, _wanted(wish, select.POLLIN), deadline)

    def write(self, octets: bytes | memoryview, deadline: float, *, unanswered: int = 0) -> None:
        """Send all of it.

        What the server says meanwhile is read, as one that waits for its words to be taken may take no more of ours.
        To the first `unanswered` octets there can be no answer yet: raises SpokeEarly when it speaks before they have
        left. Trouble after they have is left to whoever reads next, as the answer to them may be there already; but
        nothing is written any more.
        """
        sock = self._connected()
        if self._cut_short:
            raise self._hung_up()
        try:
            count = sock.send(octets[: self._at_once])
        except _MUST_WAIT:
            count = 0
        except OSError as error:
            if unanswered and self._hear_last(sock):
                raise SpokeEarly from error
            raise self._hung_up() from error
        self.written += count
        if count < len(octets):
            self._write_rest(sock, memoryview(octets)[count:], deadline, unanswered - count if unanswered else None)

    def _write_rest(self, sock: socket.socket, rest: memoryview, deadline: float, unanswered: int | None) -> None:
        end = self.written + (unanswered or 0)
        try:
            for count in self._pieces(sock, rest, deadline, silent_until=end):
                self.written += count
        except OSError as error:
            if unanswered is not None and self.written >= end:
                self._cut_short = True
            elif isinstance(error, TimeoutError):
                raise self._broken(FailureCode.TIMED_OUT, "The server stopped taking what was sent.") from error
            elif unanswered is not None and self._hear_last(sock):
                raise SpokeEarly from error
            else:
                raise self._hung_up() from error

    def _pieces(self, sock: socket.socket, rest: memoryview, deadline: float, *, silent_until: int) -> Iterator[int]:
        """Send what is left in pieces, each when the socket takes one, and yield how long each was."""
        wanted = select.POLLIN | select.POLLOUT
        while rest:
            ready = self._wait(sock, wanted, deadline)
            if ready & ~select.POLLOUT and self._hear(sock) and self.written < silent_until:
                raise SpokeEarly
            wanted = select.POLLIN | select.POLLOUT
            try:
                count = sock.send(rest[: self._at_once])
            except _MUST_WAIT as wish:
                wanted = select.POLLIN | _wanted(wish, select.POLLOUT)
                continue
            yield count
            rest = rest[count:]

    def _hear(self, sock: socket.socket) -> bool:
        """Take in what the server has said while it is being written to."""
        try:
            octets = sock.recv(RECEIVE)
        except _MUST_WAIT:
            return False
        if not octets or self._replies.held > MAX_TOTAL:
            raise ConnectionError("the server reads no more, or says far more than it was asked")
        self._replies.feed(octets)
        return True

    def _hear_last(self, sock: socket.socket) -> bool:
        """Whether a server that takes no more has said why: its words can arrive between a wait and a write."""
        with suppress(OSError):
            self._hear(sock)
        return self._replies.pending

    def look(self) -> bool:
        """Whether the server has said something that nobody has read; without waiting. Raises Broken if it hung up."""
        if self._replies.pending:
            return True
        try:
            octets = self._connected().recv(RECEIVE)
        except _MUST_WAIT:
            return False
        except OSError as error:
            raise self._hung_up() from error
        if not octets:
            raise self._hung_up()
        self._replies.feed(octets)
        return True

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
            if self._at_once is None:
                # A reply is hardly ever there yet, and to wait first costs less than to fail first. TLS may hold one.
                self._wait(sock, select.POLLIN, deadline)
            while True:
                try:
                    octets = sock.recv(RECEIVE)
                    break
                except _MUST_WAIT as wish:
                    self._wait(sock, _wanted(wish, select.POLLIN), deadline)
        except TimeoutError as error:
            raise self._broken(FailureCode.TIMED_OUT, "The server did not answer in time.") from error
        except OSError as error:
            raise self._broken(FailureCode.PROTOCOL_ERROR, "The connection was cut off.", hung_up=True) from error
        if not octets:
            raise self._hung_up()
        return octets

    def abort(self, *, late: bool = False) -> None:
        """End whatever the connection waits for, from another thread, and let nothing more begin.

        When it is `late` that is a time-out. Under TLS a call may go on past its deadline for as long as a server
        floods us with records that hold no words, like session tickets: one call to OpenSSL takes them all.
        """
        with self._lock:
            self._late |= late and not self._aborted
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

    def _hung_up(self) -> Broken:
        return self._broken(FailureCode.PROTOCOL_ERROR, "The server hung up in mid-conversation.", hung_up=True)

    def _broken(self, failure: FailureCode, detail: str, *, hung_up: bool = False) -> Broken:
        if self._late:
            return Broken(FailureCode.TIMED_OUT, "The server did not answer in time.")
        if self._aborted:
            return Broken(FailureCode.CANCELED, "Canceled.")
        return Broken(failure, detail, hung_up=hung_up)


def _wanted(wish: OSError, usual: int) -> int:
    """Return what to wait for: TLS may have to read in order to write, and the other way round."""
    if isinstance(wish, ssl.SSLWantReadError):
        return select.POLLIN
    return select.POLLOUT if isinstance(wish, ssl.SSLWantWriteError) else usual


def wait_in_thread(sock: socket.socket, events: int, deadline: float) -> int:
    """Wait until one of the `select.poll` events is there, and return it with others. Raises TimeoutError."""
    poll = select.poll()
    poll.register(sock, events)
    ready = poll.poll(_left(deadline) * 1000)
    if not ready:
        raise TimeoutError
    return ready[0][1]


def _left(deadline: float) -> float:
    """Return the seconds until the deadline, and never 0, which a socket takes for "do not wait at all"."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
