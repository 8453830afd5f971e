"""What a fetch of a model may reach, and what it proves itself with.

A model's URI is a request that the cluster makes for whoever wrote it: the addresses where a cloud hands out
credentials to whoever asks are refused. Judged is the address that is connected to, after resolution and for each
redirect anew, since a name or a redirect may lead anywhere. May not do I/O.
"""

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from corefit_core.errors import ModelTooLarge

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address

METADATA: Final = tuple(
    map(
        ipaddress.ip_network,
        (
            "100.100.100.200/32",  # Alibaba Cloud
            "168.63.129.16/32",  # Azure's WireServer
            "192.0.0.192/32",  # Oracle Cloud, classic
            "fd00:ec2::/32",  # AWS: ::254 is the instance's metadata, ::23 the credentials of EKS pods
            "fd20:ce::/32",  # Google Cloud
            "fd00:42::42/128",  # Scaleway
        ),
    )
)
"""Metadata services outside of the link-local ranges; 169.254.169.254, which all others use, is in them."""
_LAST_FOUR: Final = tuple(
    map(
        ipaddress.IPv6Network,
        (
            "::/96",  # RFC 4291, 2.5.5.1: IPv4-compatible
            "::ffff:0:0/96",  # RFC 4291, 2.5.5.2: IPv4-mapped
            "::ffff:0:0:0/96",  # RFC 2765: IPv4-translated
            "64:ff9b::/96",  # RFC 6052: NAT64
            "64:ff9b:1::/48",  # RFC 8215: NAT64 of a network's own
        ),
    )
)
"""Addresses whose last four bytes are an IPv4 address, which a gateway or the kernel connects to."""
_NAT64_LOCAL: Final = ipaddress.IPv6Network("64:ff9b:1::/48")
_ISATAP: Final = 0x5EFE
"""RFC 5214: the bytes before the IPv4 address, but for the bit that says whether it is unique."""


@dataclass(frozen=True, kw_only=True)
class Access:
    """See the module.

    Attributes:
        link_local: whether link-local and metadata addresses may be connected to.
        credentials: folder with `token`, or `username` and `password`; None for a server that asks for none.
        max_bytes: the largest model that is fetched; None for any.
    """

    link_local: bool = False
    credentials: Path | None = None
    max_bytes: int | None = None

    def check_size(self, count: int) -> None:
        """Sees that a model of so many bytes may be fetched.

        Raises:
            ModelTooLarge: it may not.
        """
        if self.max_bytes is not None and count > self.max_bytes:
            raise ModelTooLarge(
                f"the model is larger than the {self.max_bytes} bytes of memory that the container has, so it can't be "
                "served: raise spec.resources.memory (--memory)"
            )


def refused(address: str) -> bool:
    """Whether an address, as `socket.getaddrinfo` gives it, is link-local or a metadata service's.

    An IPv6 address is refused as well when it stands for such an IPv4 address, in any of the known embeddings.
    """
    plain = ipaddress.ip_address(address.partition("%")[0])
    return any(found.is_link_local or any(found in network for network in METADATA) for found in _meant(plain))


def _meant(address: _Address) -> Iterator[_Address]:
    """The address itself, and each IPv4 address that it may stand for."""
    yield address
    if isinstance(address, ipaddress.IPv4Address):
        return
    number = int(address)
    if any(address in network for network in _LAST_FOUR) or (number >> 32) & 0xFDFFFFFF == _ISATAP:
        yield ipaddress.IPv4Address(number & 0xFFFFFFFF)
    if address in _NAT64_LOCAL:  # RFC 6052, 2.2: a prefix of 48 bits has the address around the byte 8, which is zero.
        yield ipaddress.IPv4Address((number >> 64 & 0xFFFF) << 16 | number >> 40 & 0xFFFF)
    if address.sixtofour is not None:
        yield address.sixtofour
    if address.teredo is not None:
        yield from address.teredo
