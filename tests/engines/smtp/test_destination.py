"""Who may be dialled. An audit hook sees every connect of this process: to a forbidden address there is none."""

import socket
import sys
import threading
import time
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from panel.smtp.addresses import SPECIAL_IPV4, SPECIAL_IPV6, carried_ipv4, is_metadata, is_public
from panel.smtp.destination import DestinationError, DestinationPolicy, VettedAddress, vet
from panel.smtp.outcome import FailureCode, Verdict
from tests.engines.smtp.kit import Watcher, code_of_opening, failure_of_opening, session
from tests.support.mailserver import MailServer

_dialled: list[Any] | None = None


def _audit(event: str, args: tuple[Any, ...]) -> None:
    if _dialled is not None and event in ("socket.connect", "socket.sendto"):
        _dialled.append(args[1])


sys.addaudithook(_audit)


@pytest.fixture
def dialled() -> Iterator[list[Any]]:
    """The addresses that were dialled during the test."""
    global _dialled
    _dialled = seen = []
    yield seen
    _dialled = None


GUARDED = DestinationPolicy.parse(ports="25,465,587,2525", allow="")

FORBIDDEN = [
    "127.0.0.1", "127.8.8.8", "0.0.0.0", "0.1.2.3", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1",
    "100.64.0.1", "100.127.255.255", "169.254.169.254", "169.254.1.1", "168.63.129.16", "192.0.0.8", "192.0.2.1",
    "198.18.0.1", "198.51.100.7", "203.0.113.5", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255",
    "192.88.99.1", "100.100.100.200",
    "::", "::1", "fe80::1", "fe80::a9fe:a9fe", "fec0::1", "fc00::1", "fd00:ec2::254", "fd20:ce::254", "ff02::1",
    "2001:db8::1", "3fff::1", "100::1", "4000::1", "5f00::1",
    "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254",  # mapped
    "::127.0.0.1", "::8.8.8.8", "::10.0.0.1",  # compatible
    "::ffff:0:127.0.0.1",  # translated
    "64:ff9b::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::10.0.0.1", "64:ff9b:1::10.0.0.1", "64:ff9b:1:a00:0:100::",
    "2002:7f00:1::", "2002:a00:1::1", "2002:808:808::1",  # 6to4
    "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001::f5ff:fffe",  # Teredo
    "2a00:1450::5efe:10.0.0.1", "2a00:1450::200:5efe:192.168.0.1", "2a00:1450:4001::5efe:8.8.8.8",  # ISATAP
]  # fmt: skip
PUBLIC = [
    "8.8.8.8", "142.250.102.108", "172.15.0.1", "172.32.0.1", "100.63.255.255", "100.128.0.1", "192.0.1.1", "11.0.0.1",
    "2a00:1450:4013:c01::6c", "2606:4700::1111", "2001:4860:4860::8888",
    "::ffff:8.8.8.8", "64:ff9b::8.8.8.8",
]  # fmt: skip


@pytest.mark.parametrize("address", FORBIDDEN)
def test_it_never_dials_an_address_that_is_not_public(address: str, dialled: list[Any]) -> None:
    watcher = Watcher()
    for host, resolver in ((address, None), ("rebound.example", lambda _host, _port: [address])):
        options = {"resolver": resolver} if resolver else {}
        outcome = failure_of_opening(25, host=host, policy=GUARDED, observer=watcher, **options)
        assert (outcome.failure, outcome.verdict) == (FailureCode.DESTINATION_NOT_ALLOWED, Verdict.PERMANENT)
    assert dialled == []
    if address not in ("::",):
        assert address not in watcher.text


@pytest.mark.parametrize("address", PUBLIC)
def test_it_allows_public_addresses_on_allowed_ports(address: str) -> None:
    found = vet(host="mail.example", port=587, policy=GUARDED, deadline=soon(), resolver=lambda *_: [address])
    assert found == [
        VettedAddress(socket.AF_INET6 if ":" in address else socket.AF_INET, (str(ip_address(address)), 587))
    ]
    with pytest.raises(DestinationError):
        vet(host="mail.example", port=6379, policy=GUARDED, deadline=soon(), resolver=lambda *_: [address])


@pytest.mark.parametrize(
    "host",
    ["0177.0.0.1", "2130706433", "0x7f.1", "0x7f000001", "127.1", "127.0.1", "0x7f.0.0.1", "127.0.0.0x1",
     "017700000001",
     "１２７.0.0.1", "127。0。0。1", "①27.0.0.1", "8.8.8.8.", "08.8.8.8", "8.8.8.٨", "1.2.3.4.5", "256.1.1.1",
     "0x7f。1", "0x7f000\u00ad001", "2130\u00ad706433"],
)  # fmt: skip
def test_it_refuses_spellings_that_only_a_resolver_understands(host: str, dialled: list[Any]) -> None:
    def resolver(_host: str, _port: int) -> list[str]:
        raise AssertionError("it was looked up")

    assert code_of_opening(25, host=host, policy=GUARDED, resolver=resolver) is FailureCode.DESTINATION_NOT_ALLOWED
    assert dialled == []


def test_it_refuses_a_name_with_one_forbidden_answer_among_good_ones(dialled: list[Any]) -> None:
    answers = ["8.8.8.8", "10.0.0.1", "2606:4700::1111"]
    code = code_of_opening(25, host="mixed.example", policy=GUARDED, resolver=lambda *_: answers)
    assert code is FailureCode.DESTINATION_NOT_ALLOWED
    assert dialled == []


def test_it_looks_up_once_and_dials_what_was_vetted(dialled: list[Any]) -> None:
    answers = iter([["127.0.0.1"], ["127.0.0.2"]])
    with MailServer(security="tls") as server:
        # The certificate is for localhost: TLS is verified for the name asked for, not for what DNS made of it.
        dialled.clear()
        code = code_of_opening(
            server.port,
            host="mail.example",
            security="tls",
            policy=DestinationPolicy.parse(ports="25", allow=f"127.0.0.1:{server.port}"),
            resolver=lambda *_: next(answers),
        )
        assert code is FailureCode.CERTIFICATE_WRONG_HOST
        assert {address for address in dialled if address[1] == server.port} == {("127.0.0.1", server.port)}
    assert next(answers) == ["127.0.0.2"]


def test_it_tries_the_next_address_when_one_does_not_answer() -> None:
    with MailServer() as server:
        policy = DestinationPolicy.parse(ports="25", allow=f"127.0.0.0/8:{server.port}")
        with session(
            server.port, host="two.example", policy=policy, resolver=lambda *_: ["127.0.0.9", "127.0.0.1"]
        ) as client:
            client.open()
            assert client.reusable


def test_it_gives_a_look_up_a_deadline() -> None:
    let_go = threading.Event()

    def resolver(_host: str, _port: int) -> list[str]:
        let_go.wait(10)
        return []

    began = time.monotonic()
    with pytest.raises(DestinationError) as caught:
        vet(host="slow.example", port=25, policy=GUARDED, deadline=began + 0.1, resolver=resolver)
    let_go.set()
    assert caught.value.failure is FailureCode.HOST_NOT_FOUND
    assert time.monotonic() - began < 5


def test_it_says_when_there_is_no_such_host() -> None:
    def resolver(_host: str, _port: int) -> list[str]:
        raise socket.gaierror(socket.EAI_NONAME, "nothing")

    for answer in (resolver, lambda *_: []):
        assert code_of_opening(25, host="no.example", policy=GUARDED, resolver=answer) is FailureCode.HOST_NOT_FOUND


def test_it_raises_what_is_wrong_with_a_resolver_itself() -> None:
    def resolver(_host: str, _port: int) -> list[str]:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        vet(host="a.example", port=25, policy=GUARDED, deadline=soon(), resolver=resolver)


# ---- the operator's exceptions


def test_it_opens_exactly_what_the_operator_allows() -> None:
    policy = DestinationPolicy.parse(ports="25,587", allow="10.1.2.3:25, 10.9.0.0/24:2526,[fd00::25]:25,[fd01::/64]:25")
    allowed = [("10.1.2.3", 25), ("10.9.0.7", 2526), ("fd00::25", 25), ("fd01::77", 25), ("8.8.8.8", 587)]
    refused = [("10.1.2.4", 25), ("10.1.2.3", 6379), ("10.1.2.3", 587), ("10.9.1.7", 2526), ("10.9.0.7", 25)]
    refused += [("fd00::26", 25), ("fd00::25", 587), ("8.8.8.8", 2526), ("::ffff:10.1.2.3", 25), ("127.0.0.1", 25)]
    assert [policy.allows(ip_address(host), port) for host, port in allowed] == [True] * len(allowed)
    assert [policy.allows(ip_address(host), port) for host, port in refused] == [False] * len(refused)


def test_it_never_opens_metadata_addresses_however_they_are_allowed() -> None:
    policy = DestinationPolicy.parse(ports="80", allow="0.0.0.0/0:80,[::/0]:80")
    for address in (
        "169.254.169.254", "168.63.129.16", "100.100.100.200", "fd00:ec2::254", "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe", "::169.254.169.254", "2002:a9fe:a9fe::1", "2001:0:1:2::5601:5601", "fe80::5efe:a9fe:a9fe",
        "64:ff9b:1:a9fe:a9:fe00::", "64:ff9b:1::a9fe:a9fe", "169.254.0.23", "fd00:a9fe:a9fe::1",
    ):  # fmt: skip
        assert is_metadata(ip_address(address)), address
        assert not policy.allows(ip_address(address), 80), address
    assert policy.allows(ip_address("10.0.0.1"), 80)


def test_it_lets_a_form_hold_the_ports_that_can_work() -> None:
    policy = DestinationPolicy.parse(ports="25,587", allow="10.1.2.3:2526")
    assert policy.port_allowed("mail.example.com", 587)
    assert policy.port_allowed("10.1.2.3", 2526)
    assert policy.port_allowed("mail.example.com", 2526)
    assert not policy.port_allowed("10.1.2.4", 2526)
    assert not policy.port_allowed("mail.example.com", 6379)


def test_it_dials_the_allowed_one_of_localhosts_addresses() -> None:
    policy = DestinationPolicy.parse(ports="25", allow="127.0.0.1:2525")
    both = {"port": 2525, "policy": policy, "deadline": soon(), "resolver": lambda *_: ["::1", "127.0.0.1"]}
    assert vet(host="localhost", **both) == [VettedAddress(socket.AF_INET, ("127.0.0.1", 2525))]
    with pytest.raises(DestinationError):
        vet(host="mail.example", **both)


def test_it_does_not_guard_the_platform_server() -> None:
    policy = DestinationPolicy.unguarded()
    assert policy.port_allowed("localhost", 1)
    assert vet(host="127.0.0.1", port=1, policy=policy, deadline=soon()) == [
        VettedAddress(socket.AF_INET, ("127.0.0.1", 1))
    ]


@pytest.mark.parametrize(
    ("ports", "allow", "named"),
    [
        ("25,x", "", "'x'"),
        ("0", "", "'0'"),
        ("65536", "", "'65536'"),
        ("２5", "", "'２5'"),
        ("25", "10.1.2.3", "'10.1.2.3'"),
        ("25", "10.1.2.3:", "'10.1.2.3:'"),
        ("25", "10.1.2.3/24:25", "'10.1.2.3/24:25'"),
        ("25", "localhost:25", "'localhost:25'"),
        ("25", "fd00::25:25", "'fd00::25:25'"),
        ("25", "10.1.2.3:25,10.1.2.4:smtp", "'10.1.2.4:smtp'"),
    ],
)
def test_it_names_the_bad_entry_of_a_policy(ports: str, allow: str, named: str) -> None:
    with pytest.raises(ValueError, match="^" + named.replace("/", r"\/")):
        DestinationPolicy.parse(ports=ports, allow=allow)


# ---- addresses


@settings(deadline=None)
@given(st.ip_addresses(v=4))
def test_it_judges_what_an_ipv6_form_carries(address: Any) -> None:
    bits = int(address)
    forms = [
        bits,
        0xFFFF << 32 | bits,
        0x64FF9B << 96 | bits,
        0x2002 << 112 | bits << 80,
        0x20010000 << 96 | ~bits & 0xFFFFFFFF,
    ]
    forms.append(0x2A00 << 112 | 0x5EFE << 32 | bits)
    for form in map(IPv6Address, forms):
        assert address in carried_ipv4(form)
        assert is_public(address) or not is_public(form)
        assert not is_metadata(address) or is_metadata(form)


# Where an independent list, that of the standard library, is known to differ from the truth: it calls these global.
NOT_PUBLIC_BUT_GLOBAL = [
    ip_network(block)
    for block in (
        "168.63.129.16/32",  # Azure's host agent
        "192.0.0.0/24",  # the standard library counts some single addresses of it as global
        "192.31.196.0/24", "192.52.193.0/24", "192.175.48.0/24",  # AS112 and AMT: anycast, no mail servers
        "192.88.99.0/24",  # relays of 6to4, withdrawn
        "224.0.0.0/4",  # multicast
        "::/3", "4000::/2", "8000::/1",  # outside of global unicast
        "2001::/23", "2002::/16",  # Teredo, ORCHID and 6to4
        "2620:4f:8000::/48",  # AS112
        "3fff::/20",  # documentation, since RFC 9637
    )
]  # fmt: skip
MAPPED, NAT64 = ip_network("::ffff:0:0/96"), ip_network("64:ff9b::/96")


@settings(deadline=None)
@given(st.ip_addresses(v=4))
def test_it_agrees_with_an_independent_list_on_ipv4(address: Any) -> None:
    excepted = any(address in block for block in NOT_PUBLIC_BUT_GLOBAL if block.version == 4)
    assert is_public(address) == (address.is_global and not excepted)


@settings(deadline=None)
@given(st.one_of(st.ip_addresses(v=6), st.builds(IPv6Address, st.integers(0x2000 << 112, (0x4000 << 112) - 1))))
def test_it_agrees_with_an_independent_list_on_ipv6(address: Any) -> None:
    judge_ipv6(address)


def judge_ipv6(address: IPv6Address) -> None:
    if address in MAPPED or address in NAT64:
        assert is_public(address) == is_public(IPv4Address(int(address) & 0xFFFFFFFF))
        return
    isatap = int(address) >> 32 & 0xFDFFFFFF == 0x5EFE
    excepted = isatap or any(address in block for block in NOT_PUBLIC_BUT_GLOBAL if block.version == 6)
    assert is_public(address) == (address.is_global and not excepted)


def test_it_agrees_with_it_at_the_edges_of_every_block() -> None:
    for block in (*SPECIAL_IPV4, *SPECIAL_IPV6, *NOT_PUBLIC_BUT_GLOBAL, MAPPED, NAT64):
        for bits in (int(block[0]) - 1, int(block[0]), int(block[-1]), int(block[-1]) + 1):
            if block.version == 4 and 0 <= bits < 2**32:
                four = IPv4Address(bits)
                excepted = any(four in one for one in NOT_PUBLIC_BUT_GLOBAL if one.version == 4)
                assert is_public(four) == (four.is_global and not excepted), four
            elif block.version == 6 and 0 <= bits < 2**128:
                judge_ipv6(IPv6Address(bits))


@settings(deadline=None)
@given(st.ip_addresses(v=6))
def test_it_finds_the_ipv4_that_the_standard_library_finds_in_an_ipv6(address: Any) -> None:
    carried = carried_ipv4(address)
    for found in (address.ipv4_mapped, address.sixtofour, *(address.teredo or ())):
        assert found is None or found in carried


def soon() -> float:
    return time.monotonic() + 5
