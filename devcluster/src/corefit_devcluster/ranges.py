"""Addresses of a cluster: one /16 that nothing else on the machine routes to, cut up the same way each time.

Pure: what is taken is an argument.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

from corefit_devcluster.errors import NoFreeRangeError


@dataclass(frozen=True)
class Ranges:
    """How the /16 of a cluster is used.

    Attributes:
        block: the whole of it, for example 10.160.0.0/16.
    """

    block: IPv4Network

    @property
    def pods(self) -> IPv4Network:
        """4094 pod addresses: x.y.0.0/20."""
        return next(self.block.subnets(new_prefix=20))

    @property
    def services(self) -> IPv4Network:
        """4094 cluster addresses: x.y.128.0/20."""
        return IPv4Network((self.block[128 * 256], 20))

    @property
    def link(self) -> IPv4Network:
        """The veth pair between host and cluster: x.y.255.0/30."""
        return IPv4Network((self.block[255 * 256], 30))

    @property
    def host(self) -> IPv4Address:
        """The host's end of the link."""
        return self.link[1]

    @property
    def node(self) -> IPv4Address:
        """The node's address: the cluster's end of the link, where API server and DNS listen."""
        return self.link[2]

    @property
    def api_service(self) -> IPv4Address:
        """The cluster address of the service `kubernetes`."""
        return self.services[1]

    @property
    def dns_service(self) -> IPv4Address:
        """The cluster address of the service `kube-dns`."""
        return self.services[10]


def candidates() -> Iterator[IPv4Network]:
    """Blocks in order of preference.

    Private ranges away from the popular defaults (10.96, 10.244: clusters; 172.17: Docker; 192.168: homes), then
    the benchmarking and carrier ranges for machines in a network that takes the whole of 10.0.0.0/8.
    """
    for first, seconds in ((10, range(160, 224)), (172, range(24, 32)), (198, range(18, 20)), (100, range(80, 128))):
        yield from (IPv4Network(f"{first}.{second}.0.0/16") for second in seconds)


def allocate(taken: Sequence[IPv4Network]) -> Ranges:
    """Take the first block that overlaps nothing; a default route overlaps everything and is no obstacle."""
    real = [network for network in taken if network.prefixlen > 0]
    for block in candidates():
        if not any(block.overlaps(network) for network in real):
            return Ranges(block)
    raise NoFreeRangeError(
        "every range of addresses that a cluster could take is routed on this machine already",
        hint="See `ip route show table all`; `corefit-devcluster down --name ...` frees a cluster's.",
    )
