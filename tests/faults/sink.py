"""A mail server that keeps every letter it takes and calls a hook at each point of a conversation.

It runs in threads of the test's process, so that what it has taken outlives whatever is done to workers, Redis and the
database. Each worker says EHLO with a name of its own, so a hook knows whose connection has come to its point.
"""

from __future__ import annotations

import base64
import select
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal, Self

Point = Literal["connect", "ehlo", "auth", "mail", "rcpt", "data", "body", "dot", "replied"]
"""`connect` to `rcpt`: heard, not yet answered. `data`: RCPT is answered, DATA is not. `body`: its first octets are
here. `dot`: the final dot is here and not yet answered. `replied`: its reply has been written."""

PATIENCE = 60.0
"""Seconds that a connection may stay silent, so that a broken test ends."""

USER = "hello@acme.test"


@dataclass(frozen=True, slots=True)
class Passing:
    """A connection that has come to a point; `count` says how many have come to this point so far, over all."""

    point: Point
    count: int
    worker: str
    connection: int
    letter: int
    recipient: str


@dataclass(slots=True)
class Body:
    """A letter's body: where and when its first octets came, and whether this server took it."""

    recipient: str
    worker: str
    connection: int
    begun_at: float
    message_id: str = ""
    ended_at: float | None = None
    accepted: bool = False


@dataclass(frozen=True, slots=True)
class SignIn:
    """One AUTH."""

    at: float
    connection: int
    right: bool


class HangUp(Exception):
    """Raised by a hook: the connection is closed without a word."""


Play = Callable[[Passing], "str | None"]
"""A hook: returns a reply in the place of the usual one, or None; or raises HangUp."""


@dataclass(slots=True)
class _Talk:
    """One connection."""

    number: int
    sock: socket.socket
    opened_at: float = field(default_factory=time.time)
    closed_at: float | None = None
    worker: str = ""
    letter: int = 0
    recipient: str = ""
    signed_in: bool = False
    buffer: bytearray = field(default_factory=bytearray)

    def line(self) -> str:
        while (end := self.buffer.find(b"\r\n")) < 0:
            self.receive()
        line = self.buffer[:end].decode("latin-1")
        del self.buffer[: end + 2]
        return line

    def receive(self) -> None:
        octets = self.sock.recv(65536)
        if not octets:
            raise ConnectionResetError
        self.buffer += octets

    def more_waits(self) -> bool:
        """Whether the client has said more already; that it has gone is not more."""
        if self.buffer or not select.select([self.sock], [], [], 0)[0]:
            return bool(self.buffer)
        try:
            return bool(self.sock.recv(1, socket.MSG_PEEK))
        except OSError:
            return False

    def say(self, *lines: str) -> None:
        self.sock.sendall("".join(f"{line}\r\n" for line in lines).encode())


class Sink:
    """Takes mail on 127.0.0.1. `play` is the hook; it may be changed at any time. Use it as a context manager.

    pause: seconds that it takes for each letter, so that there are letters in flight when something is done.
    password: wants AUTH with it, unless None.
    """

    def __init__(
        self,
        *,
        play: Play | None = None,
        pipelining: bool = True,
        pause: float = 0.0,
        password: str | None = None,
        port: int = 0,
    ) -> None:
        self.play: Play = play or (lambda _passing: None)
        self.pipelining, self.pause, self.password = pipelining, pause, password
        self.bodies: list[Body] = []
        self.sign_ins: list[SignIn] = []
        self.problems: list[str] = []
        self.most_open = 0
        self.connections = 0
        self._passings: Counter[str] = Counter()
        self._open: dict[int, _Talk] = {}
        self._talks: list[_Talk] = []
        self._lock = threading.Lock()
        self._closing = False
        self._listener = socket.create_server(("127.0.0.1", port), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._listen, name="sink", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing = True
        # Wakes the thread that accepts, which a close would not.
        with suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        self._thread.join(5)
        self._listener.close()
        with self._lock:
            talks = list(self._open.values())
        for talk in talks:
            with suppress(OSError):
                talk.sock.shutdown(socket.SHUT_RDWR)

    @property
    def accepted(self) -> list[Body]:
        """The letters that it took, in order."""
        return [body for body in list(self.bodies) if body.accepted]

    def open_of(self, worker: str) -> int:
        """How many connections this worker has open now."""
        with self._lock:
            return sum(talk.worker == worker for talk in self._open.values())

    def open_between(self, start: float, end: float, worker: str | None = None) -> int:
        """How many connections were open at some time between two moments (of `time.time`), of one worker or of all."""
        with self._lock:
            of_whom = [talk for talk in self._talks if worker is None or talk.worker == worker]
            return sum(talk.opened_at <= end and (talk.closed_at or start) >= start for talk in of_whom)

    def passed(self, point: Point) -> int:
        """How many times a connection has come to this point."""
        return self._passings[point]

    def _listen(self) -> None:
        while True:
            sock, _ = self._listener.accept()
            if self._closing:
                sock.close()
                return
            sock.settimeout(PATIENCE)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self.connections += 1
                talk = _Talk(self.connections, sock)
                self._open[talk.number] = talk
                self._talks.append(talk)
                self.most_open = max(self.most_open, len(self._open))
            threading.Thread(target=self._serve, args=(talk,), name="sink-talk", daemon=True).start()

    def _serve(self, talk: _Talk) -> None:
        try:
            self._converse(talk)
        except (OSError, HangUp):
            pass  # whoever spoke is gone, or is to think that we are
        except Exception as problem:  # noqa: BLE001 - shown by the reconciliation, which every test makes
            self.problems.append(f"the sink failed: {problem!r}")
        finally:
            with self._lock:
                del self._open[talk.number]
                talk.closed_at = time.time()
            with suppress(OSError):
                talk.sock.shutdown(socket.SHUT_RDWR)
            talk.sock.close()

    def _pass(self, talk: _Talk, point: Point) -> str | None:
        with self._lock:
            self._passings[point] += 1
            count = self._passings[point]
        return self.play(Passing(point, count, talk.worker, talk.number, talk.letter, talk.recipient))

    def _converse(self, talk: _Talk) -> None:
        talk.say(self._pass(talk, "connect") or "220 sink.test ESMTP")
        while True:
            line = talk.line()
            verb = line.split(" ", 1)[0].upper()
            if verb == "QUIT":
                talk.say("221 2.0.0 bye")
                return
            if verb == "DATA":
                self._data(talk)
                continue
            reply = self._answer(talk, verb, line)
            if (verb in ("EHLO", "AUTH") or not self.pipelining) and talk.more_waits():
                self.problems.append(f"said something before {verb} was answered")
            if verb == "EHLO" and reply is None:
                talk.say(*self._hello())
            else:
                talk.say(reply or "250 2.0.0 ok")
            if reply is not None and reply.startswith("421"):
                return

    def _hello(self) -> list[str]:
        extensions = ["8BITMIME", "ENHANCEDSTATUSCODES", "SIZE 10485760"]
        extensions += ["PIPELINING"] if self.pipelining else []
        extensions += ["AUTH PLAIN LOGIN"] if self.password is not None else []
        lines = ["sink.test", *extensions]
        return [f"250{'-' if place < len(lines) else ' '}{line}" for place, line in enumerate(lines, 1)]

    def _answer(self, talk: _Talk, verb: str, line: str) -> str | None:
        if verb == "EHLO":
            talk.worker = line[5:].strip()
            return self._pass(talk, "ehlo")
        if verb == "AUTH":
            return self._sign_in(talk, line)
        if verb == "MAIL":
            talk.letter += 1
            talk.recipient = ""
            if self.password is not None and not talk.signed_in:
                return "530 5.7.0 authentication required"
            return self._pass(talk, "mail")
        if verb == "RCPT":
            recipient = line.partition("<")[2].partition(">")[0]
            talk.recipient = recipient
            reply = self._pass(talk, "rcpt")
            if reply is not None and not reply.startswith("2"):
                talk.recipient = ""
            return reply
        return None if verb in ("RSET", "NOOP") else "502 5.5.1 not here"

    def _sign_in(self, talk: _Talk, line: str) -> str:
        _, mechanism, *initial = line.split(" ")
        if mechanism.upper() == "PLAIN":
            given = base64.b64decode(initial[0] if initial else self._ask(talk, "")).decode().split("\0")[1:]
        else:
            user = initial[0] if initial else self._ask(talk, "VXNlcm5hbWU6")
            given = [base64.b64decode(one).decode() for one in (user, self._ask(talk, "UGFzc3dvcmQ6"))]
        right = given == [USER, self.password]
        self.sign_ins.append(SignIn(time.time(), talk.number, right))
        reply = self._pass(talk, "auth")
        talk.signed_in = right and reply is None
        return reply or ("235 2.7.0 welcome" if right else "535 5.7.8 user name or password not accepted")

    def _ask(self, talk: _Talk, prompt: str) -> str:
        talk.say(f"334 {prompt}")
        return talk.line()

    def _data(self, talk: _Talk) -> None:
        if not talk.recipient:
            talk.say("503 5.5.1 no recipient")
            return
        reply = self._pass(talk, "data")
        if talk.more_waits():
            self.problems.append("a body came before its 354")
        talk.say(reply or "354 go ahead")
        if reply is not None:
            return
        body = self._hear_body(talk)
        if self.pause:
            time.sleep(self.pause)
        reply = self._pass(talk, "dot")
        # Taken before it is said: what happens to the reply on its way is the sender's trouble.
        body.ended_at, body.accepted = time.time(), reply is None or reply.startswith("2")
        talk.say(reply or "250 2.0.0 taken")
        self._pass(talk, "replied")
        talk.recipient = ""

    def _hear_body(self, talk: _Talk) -> Body:
        while not talk.buffer:
            talk.receive()
        body = Body(talk.recipient, talk.worker, talk.number, time.time())
        self.bodies.append(body)
        self._pass(talk, "body")
        while (end := talk.buffer.find(b"\r\n.\r\n")) < 0:
            talk.receive()
        content = bytes(talk.buffer[: end + 2])
        del talk.buffer[: end + 5]
        body.message_id = _message_id(content)
        return body


def _message_id(content: bytes) -> str:
    head = content.partition(b"\r\n\r\n")[0]
    for line in head.replace(b"\r\n ", b" ").split(b"\r\n"):
        if line.lower().startswith(b"message-id:"):
            return line[11:].strip().decode()
    return ""


class BlackHole:
    """A port that neither answers nor refuses: what is sent to it is dropped, as by a firewall."""

    def __init__(self) -> None:
        # The system keeps one connection that nobody accepts, and drops every SYN after it.
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(0)
        self.port: int = self._listener.getsockname()[1]
        self._filling = socket.create_connection(("127.0.0.1", self.port), 5)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._filling.close()
        self._listener.close()
