"""Who may be dialled: one look-up, every answer vetted, and only what was vetted is dialled."""

import queue
import re
import socket
import threading
import time
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_address, ip_network

from panel.smtp.addresses import IPAddress, is_metadata, is_public
from panel.smtp.outcome import FailureCode
from panel.smtp.resolver import OwnResolver, Resolver, is_localhost, system_resolver
from panel.smtp.settings import validate_host

MAX_ADDRESSES = 8
"""How many of a name's addresses are tried; a name with hundreds must not use up the time of a session."""

_TOO_SLOW = "Looking up the server’s name took too long; DNS did not answer in time."
_NUMBER = re.compile(r"\d+|0x[0-9a-f]*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class VettedAddress:
    """An address that may be dialled: what `socket.socket` and `connect` take."""

    family: socket.AddressFamily
    sockaddr: tuple[str, int]


class DestinationError(Exception):
    """The host cannot or may not be dialled; `failure` is `host_not_found`, `destination_not_allowed` or `canceled`."""

    def __init__(self, failure: FailureCode, detail: str) -> None:
        super().__init__(detail)
        self.failure = failure
        self.detail = detail


@dataclass(frozen=True, slots=True)
class DestinationPolicy:
    """What the operator lets tenants dial: public addresses on some ports, and exact exceptions.

    `resolver` is who is asked what addresses a name has.
    """

    ports: frozenset[int] = frozenset()
    exceptions: tuple[tuple[IPv4Network | IPv6Network, int], ...] = ()
    guarded: bool = True
    resolver: Resolver = OwnResolver()  # noqa: RUF009 - it is frozen, too

    @classmethod
    def parse(cls, *, ports: str, allow: str) -> "DestinationPolicy":
        """Read `OWNPOST_SMTP_PORTS` ("25,465,587") and `OWNPOST_SMTP_ALLOW` ("10.1.2.0/24:25,[fd00::25]:25").

        Raises ValueError that names the bad entry.
        """
        return cls(
            ports=frozenset(_port(entry, entry) for entry in _entries(ports)),
            exceptions=tuple(_exception(entry) for entry in _entries(allow)),
        )

    @classmethod
    def unguarded(cls) -> "DestinationPolicy":
        """Return the policy of the platform server, which the operator chose: every destination is allowed.

        It is looked up the way the machine does, search domains and all: in many a cluster it has a short name.
        """
        return cls(guarded=False, resolver=system_resolver)

    def port_allowed(self, host: str, port: int) -> bool:
        """Whether a form may hold this port: an ordinary one, or one that an exception opens.

        For a name, an exception on this port is enough to get past the form; `vet` then judges its addresses.
        """
        if not self.guarded or port in self.ports:
            return True
        try:
            return self._excepted(ip_address(host), port)
        except ValueError:
            return any(allowed == port for _, allowed in self.exceptions)

    def allows(self, address: IPAddress, port: int) -> bool:
        """Whether this very address and port may be dialled. Metadata services never may, whatever is excepted."""
        if not self.guarded:
            return True
        if is_metadata(address):
            return False
        return self._excepted(address, port) or (port in self.ports and is_public(address))

    def _excepted(self, address: IPAddress, port: int) -> bool:
        return any(port == allowed and address in network for network, allowed in self.exceptions)


class Lookup:
    """One look-up, in a thread of its own, so that the wait for it can end early. Our own resolver ends by itself."""

    def __init__(self, *, host: str, port: int, resolver: Resolver) -> None:
        self._answers: queue.SimpleQueue[Sequence[str] | Exception | None] = queue.SimpleQueue()
        threading.Thread(target=self._run, args=(host, port, resolver), name="smtp-lookup", daemon=True).start()

    def _run(self, host: str, port: int, resolver: Resolver) -> None:
        try:
            self._answers.put(resolver(host, port))
        except Exception as error:  # noqa: BLE001 - it is raised where the answer is waited for
            self._answers.put(error)

    def cancel(self) -> None:
        """End the wait, from another thread."""
        self._answers.put(None)

    def addresses(self, deadline: float) -> Sequence[str]:
        """Wait for the answer until `deadline` (of `time.monotonic`). Raises DestinationError."""
        try:
            answer = self._answers.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            raise DestinationError(FailureCode.HOST_NOT_FOUND, _TOO_SLOW) from None
        if isinstance(answer, TimeoutError):
            raise DestinationError(FailureCode.HOST_NOT_FOUND, _TOO_SLOW)
        if answer is None:
            raise DestinationError(FailureCode.CANCELED, "Canceled while looking up the server’s name.")
        if isinstance(answer, Exception) and not isinstance(answer, (OSError, UnicodeError)):
            raise answer
        if isinstance(answer, Exception) or not answer:
            raise DestinationError(FailureCode.HOST_NOT_FOUND, "No server of that name was found.")
        return answer


def vet(
    *,
    host: str,
    port: int,
    policy: DestinationPolicy,
    deadline: float,
    resolver: Resolver | None = None,
    cancellable: Callable[[Callable[[], None]], None] | None = None,
) -> list[VettedAddress]:
    """Look a host up once and return the addresses to dial, in the order of the resolver, by default the policy's.

    `deadline` is a reading of `time.monotonic`. One forbidden answer among good ones refuses them all: that is how a
    name that plays tricks looks. `cancellable` is handed a function that ends the wait early. Raises DestinationError.
    """
    name = _plain_name(host)
    try:
        addresses: list[IPAddress] = [ip_address(name)]
    except ValueError:
        lookup = Lookup(host=name, port=port, resolver=resolver or policy.resolver)
        if cancellable is not None:
            cancellable(lookup.cancel)
        addresses = [ip_address(text) for text in lookup.addresses(deadline)]
    allowed = [address for address in dict.fromkeys(addresses) if policy.allows(address, port)]
    # localhost answers with an address of each family, while an operator allows the one that the server listens on.
    # So of these answers the allowed ones are dialled and the others left.
    if not allowed or (len(allowed) < len(set(addresses)) and not is_localhost(name)):
        raise DestinationError(
            FailureCode.DESTINATION_NOT_ALLOWED, "That name or port leads to where Ownpost does not connect."
        )
    return [_vetted(address, port) for address in allowed[:MAX_ADDRESSES]]


def _plain_name(host: str) -> str:
    """Return the host as it is looked up; refuse spellings of an address that only the resolver would understand.

    getaddrinfo takes 0177.0.0.1, 2130706433, 0x7f.1 and digits of other scripts for addresses. A last label that is
    a number is never a name (WHATWG URL, "ends in a number"), so it must be a plain dotted quad.
    """
    _refuse_numbers(unicodedata.normalize("NFKC", host).rstrip("."), host)
    try:
        name = validate_host(host)
    except ValueError as problem:
        raise DestinationError(FailureCode.HOST_NOT_FOUND, str(problem)) from None
    # IDNA knows more kinds of dots, and characters that it leaves out.
    _refuse_numbers(name, name)
    return name


def _refuse_numbers(name: str, address: str) -> None:
    if _NUMBER.fullmatch(name.rpartition(".")[2]):
        try:
            IPv4Address(address)
        except ValueError:
            raise DestinationError(
                FailureCode.DESTINATION_NOT_ALLOWED, "Write an IP address as four plain numbers, like 192.0.2.25."
            ) from None


def _vetted(address: IPAddress, port: int) -> VettedAddress:
    family = socket.AF_INET if isinstance(address, IPv4Address) else socket.AF_INET6
    return VettedAddress(family, (str(address), port))


def _entries(text: str) -> list[str]:
    return [entry for entry in (piece.strip() for piece in text.split(",")) if entry]


def _port(text: str, entry: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 65535):
        raise ValueError(f"{entry!r} does not give a port from 1 to 65535")
    return int(text)


def _exception(entry: str) -> tuple[IPv4Network | IPv6Network, int]:
    where, _, port = entry.rpartition(":")
    if where.startswith("[") and where.endswith("]"):
        where = where[1:-1]
    elif ":" in where:
        raise ValueError(f"{entry!r} must have its IPv6 address in brackets, like [fd00::25]:25")
    number = _port(port, entry)
    try:
        return ip_network(where), number
    except ValueError:
        raise ValueError(f"{entry!r} is not an address or network with a port, like 10.1.2.0/24:25") from None
