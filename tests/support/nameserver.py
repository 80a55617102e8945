"""A name server of a test's own on loopback, which may change its mind, lie, be silent or answer in part."""

from __future__ import annotations

import select
import socket
import struct
import threading
from collections.abc import Sequence
from types import TracebackType
from typing import Self

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

PATIENCE = 10.0


class NameServer:
    """Answers A and AAAA by UDP, and by TCP what is too long for it.

    `zone` holds, for a name, the addresses of each look-up in turn; the last ones stay. A name that is not in it does
    not exist. `silent` are kinds ("A", "AAAA") that get no answer, `failing` those that get SERVFAIL. `asked` holds
    every question. It may be changed while it runs.
    """

    def __init__(self, **zone: Sequence[Sequence[str]]) -> None:
        self.zone: dict[str, list[Sequence[str]]] = {name: list(turns) for name, turns in zone.items()}
        self.silent: set[str] = set()
        self.failing: set[str] = set()
        self.asked: list[tuple[str, str]] = []
        self._datagrams, self._streams = _one_port_for_both()
        self._wake_receiver, self._wake_sender = socket.socketpair()
        self._serving = threading.Thread(target=self._serve, name="name-server", daemon=True)

    @property
    def port(self) -> int:
        """The port it answers on."""
        return int(self._datagrams.getsockname()[1])

    def __enter__(self) -> Self:
        self._serving.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._wake_sender.close()
        self._serving.join(PATIENCE)
        for sock in (self._datagrams, self._streams, self._wake_receiver):
            sock.close()

    def lookups(self, name: str) -> int:
        """How often a name was looked up."""
        return sum(one == (name, "A") for one in list(self.asked))

    def _serve(self) -> None:
        while True:
            ready, _, _ = select.select([self._datagrams, self._streams, self._wake_receiver], [], [])
            if self._wake_receiver in ready:
                return
            if self._datagrams in ready:
                octets, client = self._datagrams.recvfrom(4096)
                if answer := self._answer(octets):
                    self._datagrams.sendto(_within(answer, 512), client)
            if self._streams in ready:
                self._serve_stream()

    def _serve_stream(self) -> None:
        sock, _ = self._streams.accept()
        with sock:
            sock.settimeout(PATIENCE)
            (length,) = struct.unpack("!H", sock.recv(2, socket.MSG_WAITALL))
            if answer := self._answer(sock.recv(length, socket.MSG_WAITALL)):
                wire = answer.to_wire()
                sock.sendall(struct.pack("!H", len(wire)) + wire)

    def _answer(self, octets: bytes) -> dns.message.Message | None:
        query = dns.message.from_wire(octets)
        question = query.question[0]
        name, kind = question.name.to_text(omit_final_dot=True), dns.rdatatype.to_text(question.rdtype)
        self.asked.append((name, kind))
        if kind in self.silent:
            return None
        answer = dns.message.make_response(query)
        if kind in self.failing:
            answer.set_rcode(dns.rcode.SERVFAIL)
        elif name not in self.zone:
            answer.set_rcode(dns.rcode.NXDOMAIN)
        else:
            wanted = [address for address in self._turn(name, kind) if (":" in address) == (kind == "AAAA")]
            if wanted:
                answer.answer.append(dns.rrset.from_text(question.name, 0, "IN", kind, *wanted))
        return answer

    def _turn(self, name: str, kind: str) -> Sequence[str]:
        """The addresses of this look-up, which begins with A and ends with AAAA."""
        turns = self.zone[name]
        return turns.pop(0) if kind == "AAAA" and len(turns) > 1 else turns[0]


def _within(answer: dns.message.Message, most: int) -> bytes:
    """The answer, or if it is too long for a datagram only that it is (TC)."""
    wire = answer.to_wire()
    if len(wire) <= most:
        return wire
    answer.answer.clear()
    answer.flags |= dns.flags.TC
    return answer.to_wire()


def _one_port_for_both() -> tuple[socket.socket, socket.socket]:
    """A port that is free for datagrams may be taken for streams: then another one is tried."""
    for _ in range(50):
        datagrams = socket.socket(type=socket.SOCK_DGRAM)
        datagrams.bind(("127.0.0.1", 0))
        try:
            return datagrams, socket.create_server(datagrams.getsockname())
        except OSError:
            datagrams.close()
    raise OSError("no port is free for both datagrams and streams")
