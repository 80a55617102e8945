"""Looking names up: a resolver of our own, so that a look-up has an end and asks nobody but name servers.

The machine's own look-up (getaddrinfo) knows no deadline and cannot be stopped, tries search domains after the name
that was asked for, takes many spellings for addresses, and may ask whatever else the machine is set up to ask. So the
names that tenants enter are looked up here, and only the operator's platform server is looked up the machine's way.
"""

import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Final, Self

import dns.exception
import dns.nameserver
import dns.resolver

Resolver = Callable[[str, int], Sequence[str]]
"""Looks up a name for a port and returns its addresses as text; raises OSError when there are none."""

HOSTS: Final = Path("/etc/hosts")
PATIENCE: Final = 3.5
"""Seconds for the first question. A connection test gives a look-up 5 in all."""
IMPATIENCE: Final = 1.0
"""Seconds for the other family once there are addresses: some name servers never answer to AAAA."""
_LOCALHOST: Final = ("127.0.0.1", "::1")


def system_resolver(host: str, port: int) -> Sequence[str]:
    """Look a name up the way the machine does."""
    answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    return [str(sockaddr[0]) for *_, sockaddr in answers]


def is_localhost(name: str) -> bool:
    """Whether a name means this machine by definition (RFC 6761 section 6.3)."""
    return name == "localhost" or name.endswith(".localhost")


@dataclass(frozen=True, slots=True)
class OwnResolver:
    """Answers from the hosts file, else from these name servers; without any, from those of /etc/resolv.conf.

    Both files are read anew at each look-up, and nothing is remembered from one to the next. IPv4 addresses come
    first: where IPv6 packets get lost on the way, each of them would cost a connection its patience.
    """

    servers: tuple[tuple[str, int], ...] = ()
    hosts: Path = HOSTS

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `OWNPOST_DNS_SERVERS`: "192.0.2.53,192.0.2.54:5353,[2001:db8::53]:5353". Raises ValueError."""
        pieces = (piece.strip() for piece in text.split(","))
        return cls(servers=tuple(_name_server(piece) for piece in pieces if piece))

    def __call__(self, host: str, port: int) -> Sequence[str]:
        """Look a name up, in 4.5 seconds at most. Raises OSError when there are none, and TimeoutError in time."""
        if is_localhost(host):
            return _LOCALHOST
        return self._listed(host) or self._asked(host)

    def _listed(self, host: str) -> list[str]:
        """Return what the hosts file says; each address once, those of IPv4 first."""
        found: list[str] = []
        with suppress(OSError):
            for line in self.hosts.read_text(errors="replace").splitlines():
                address, *names = line.partition("#")[0].lower().split() or [""]
                if host in names and _is_address(address) and address not in found:
                    found.append(address)
        return sorted(found, key=lambda address: ":" in address)

    def _asked(self, host: str) -> list[str]:
        try:
            asking = self._asking()
            found = _answers(asking, host, "A", PATIENCE)
        except dns.exception.Timeout as error:
            raise TimeoutError("the name servers did not answer in time") from error
        except dns.exception.DNSException as error:
            raise OSError("the name servers know no such name") from error
        try:
            return found + _answers(asking, host, "AAAA", IMPATIENCE if found else PATIENCE - IMPATIENCE)
        except dns.exception.DNSException:
            # What was found is what is vetted and dialled, so an address that was not heard of does no harm.
            return found

    def _asking(self) -> dns.resolver.Resolver:
        asking = dns.resolver.Resolver(configure=not self.servers)
        if self.servers:
            asking.nameservers = [dns.nameserver.Do53Nameserver(address, port) for address, port in self.servers]
        return asking


def _answers(asking: dns.resolver.Resolver, host: str, kind: str, seconds: float) -> list[str]:
    """Ask for the addresses of one family. The final dot and `search` keep the name what it is."""
    answer = asking.resolve(f"{host}.", kind, lifetime=seconds, search=False, raise_on_no_answer=False)
    return [record.to_text() for record in answer.rrset or ()]


def _name_server(text: str) -> tuple[str, int]:
    address, port = text, "53"
    if text.startswith("[") and "]" in text:
        address, _, port = text[1:].partition("]")
        port = port.removeprefix(":") if port else "53"
    elif text.count(":") == 1:
        address, _, port = text.partition(":")
    if not _is_address(address) or not (port.isascii() and port.isdigit() and 1 <= int(port) <= 65535):
        raise ValueError(f"{text!r} is not the address of a name server, like 192.0.2.53 or [2001:db8::53]:5353")
    return address, int(port)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return "%" not in text
