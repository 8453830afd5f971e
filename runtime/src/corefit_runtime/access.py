"""What a fetch of a model may reach, and what it proves itself with.

A model's URI is a request that the cluster makes for whoever wrote it: the addresses where a cloud hands out
credentials to whoever asks are refused. Judged is the address that is connected to, after resolution and for each
redirect anew, since a name or a redirect may lead anywhere. May not do I/O.
"""

import ipaddress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address

METADATA: Final = frozenset(
    map(
        ipaddress.ip_address,
        (
            "100.100.100.200",  # Alibaba Cloud
            "168.63.129.16",  # Azure's WireServer
            "192.0.0.192",  # Oracle Cloud, classic
            "fd00:ec2::254",  # AWS
            "fd20:ce::254",  # Google Cloud
        ),
    )
)
"""Metadata services outside of the link-local ranges; 169.254.169.254, which all others use, is in them."""
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
"""RFC 6052: the last four bytes are an IPv4 address, which a gateway connects to."""


@dataclass(frozen=True, kw_only=True)
class Access:
    """See the module.

    Attributes:
        link_local: whether link-local and metadata addresses may be connected to.
        credentials: folder with `token`, or `username` and `password`; None for a server that asks for none.
    """

    link_local: bool = False
    credentials: Path | None = None


def refused(address: str) -> bool:
    """Whether an address, as `socket.getaddrinfo` gives it, is link-local or a metadata service's."""
    plain = _plain(ipaddress.ip_address(address.partition("%")[0]))
    return plain.is_link_local or plain in METADATA


def _plain(address: _Address) -> _Address:
    """The IPv4 address that an IPv6 one stands for, if it does."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address
