"""Which IP addresses belong to the public Internet.

The lists are our own, after the IANA special-purpose address registries (RFC 6890). `ipaddress.is_global` is not
used: it is true for 64:ff9b::7f00:1, ::127.0.0.1, fec0::1, 224.0.0.1 and 168.63.129.16, none of which is public.
"""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

IPAddress = IPv4Address | IPv6Address

SPECIAL_IPV4 = tuple(
    IPv4Network(block)
    for block in (
        "0.0.0.0/8",  # this network (RFC 791)
        "10.0.0.0/8",  # private (RFC 1918)
        "100.64.0.0/10",  # shared by carriers (RFC 6598)
        "127.0.0.0/8",  # loopback (RFC 1122)
        "168.63.129.16/32",  # Azure's host agent, reachable from every virtual machine there
        "169.254.0.0/16",  # link-local, and most clouds' metadata (RFC 3927)
        "172.16.0.0/12",  # private (RFC 1918)
        "192.0.0.0/24",  # IETF protocol assignments (RFC 6890)
        "192.0.2.0/24",  # documentation (RFC 5737)
        "192.31.196.0/24",  # AS112 (RFC 7535)
        "192.52.193.0/24",  # AMT (RFC 7450)
        "192.88.99.0/24",  # 6to4 relays (RFC 7526)
        "192.168.0.0/16",  # private (RFC 1918)
        "192.175.48.0/24",  # AS112 (RFC 7534)
        "198.18.0.0/15",  # benchmarking (RFC 2544)
        "198.51.100.0/24",  # documentation (RFC 5737)
        "203.0.113.0/24",  # documentation (RFC 5737)
        "224.0.0.0/4",  # multicast (RFC 5771)
        "240.0.0.0/4",  # reserved, and limited broadcast (RFC 1112, RFC 919)
    )
)
# Everything outside global unicast is closed: loopback, unspecified, fc00::/7, fe80::/10, fec0::/10, ff00::/8, ...
_GLOBAL_UNICAST = IPv6Network("2000::/3")  # RFC 4291
SPECIAL_IPV6 = tuple(
    IPv6Network(block)
    for block in (
        "2001::/23",  # IETF protocol assignments, among them Teredo and ORCHID (RFC 2928)
        "2001:db8::/32",  # documentation (RFC 3849)
        "2002::/16",  # 6to4, whose relays are gone (RFC 7526)
        "2620:4f:8000::/48",  # AS112 (RFC 7534)
        "3fff::/20",  # documentation (RFC 9637)
    )
)
_COMPATIBLE = IPv6Network("::/96")
_MAPPED = IPv6Network("::ffff:0:0/96")
_TRANSLATED = IPv6Network("::ffff:0:0:0/96")
_NAT64 = IPv6Network("64:ff9b::/96")
_NAT64_LOCAL = IPv6Network("64:ff9b:1::/48")
_SIX_TO_FOUR = IPv6Network("2002::/16")
_TEREDO = IPv6Network("2001::/32")
_ISATAP_IDENTIFIERS = (0x00005EFE, 0x02005EFE)

_METADATA = frozenset(
    ip_address(address)
    for address in (
        "100.100.100.200",  # Alibaba Cloud
        "168.63.129.16",  # Azure
        "169.254.0.23",  # Tencent Cloud
        "169.254.42.42",  # Scaleway
        "169.254.169.253",  # AWS, DNS and time of a VPC
        "169.254.169.254",  # AWS, Azure, Google, Oracle, OpenStack, DigitalOcean, Hetzner, ...
        "169.254.170.2",  # AWS container credentials
        "169.254.170.23",  # AWS pod identity
        "192.0.0.192",  # Oracle Cloud, classic
        "fd00:42::42",  # Scaleway
        "fd00:a9fe:a9fe::1",  # Linode
        "fd00:c1::a9fe:a9fe",  # Oracle Cloud
        "fd00:ec2::23",  # AWS pod identity
        "fd00:ec2::254",  # AWS
        "fd20:ce::254",  # Google Cloud
        "fe80::a9fe:a9fe",  # OpenStack
    )
)


def is_public(address: IPAddress) -> bool:
    """Whether an address is one that any machine on the Internet may be asked to dial.

    Of the IPv6 forms that carry an IPv4 address, the mapped one and the well-known NAT64 prefix (RFC 6052) are as
    public as what they carry; all the others are closed.
    """
    if isinstance(address, IPv4Address):
        return not any(address in block for block in SPECIAL_IPV4)
    if address in _MAPPED or address in _NAT64:
        return is_public(_low_ipv4(address))
    if _is_isatap(address) or address not in _GLOBAL_UNICAST:
        return False
    return not any(address in block for block in SPECIAL_IPV6)


def is_metadata(address: IPAddress) -> bool:
    """Whether an address is a cloud's metadata service, bare or carried in an IPv6 form: nobody may open these."""
    return not _METADATA.isdisjoint({address, *carried_ipv4(address)})


def carried_ipv4(address: IPAddress) -> tuple[IPv4Address, ...]:
    """Return the IPv4 addresses that an IPv6 address carries; none for an IPv4 address or a plain IPv6 one.

    Forms: compatible and mapped (RFC 4291 section 2.5.5), translated (RFC 2765), NAT64 (RFC 6052, RFC 8215), 6to4
    (RFC 3056), Teredo with its server and its obscured client (RFC 4380), ISATAP (RFC 5214).
    """
    if isinstance(address, IPv4Address):
        return ()
    bits = int(address)
    if any(address in block for block in (_COMPATIBLE, _MAPPED, _TRANSLATED, _NAT64)) or _is_isatap(address):
        return (_low_ipv4(address),)
    if address in _NAT64_LOCAL:
        # A translator may use the whole /48, with the IPv4 bits around the reserved octet, or a /96 within it.
        split = (bits >> 64 & 0xFFFF) << 16 | bits >> 40 & 0xFFFF
        return IPv4Address(split), _low_ipv4(address)
    if address in _SIX_TO_FOUR:
        return (IPv4Address(bits >> 80 & 0xFFFFFFFF),)
    if address in _TEREDO:
        return IPv4Address(bits >> 64 & 0xFFFFFFFF), IPv4Address(~bits & 0xFFFFFFFF)
    return ()


def _low_ipv4(address: IPv6Address) -> IPv4Address:
    return IPv4Address(int(address) & 0xFFFFFFFF)


def _is_isatap(address: IPv6Address) -> bool:
    return int(address) >> 32 & 0xFFFFFFFF in _ISATAP_IDENTIFIERS
