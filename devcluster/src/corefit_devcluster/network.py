"""The host's side of a cluster's network: one veth pair and two routes, and what addresses are taken already."""

import json
from collections.abc import Iterator
from contextlib import suppress
from ipaddress import AddressValueError, IPv4Network, NetmaskValueError

from corefit_devcluster.errors import DevclusterError
from corefit_devcluster.run import run, succeeds
from corefit_devcluster.settings import Settings

PEER = "eth0"


def taken() -> list[IPv4Network]:
    """List every range that this machine routes or has an address in."""
    return [*_routes(run(["ip", "-json", "-4", "route", "show", "table", "all"]))]


def _routes(listed: str) -> Iterator[IPv4Network]:
    for route in json.loads(listed or "[]"):
        with suppress(AddressValueError, NetmaskValueError, ValueError):
            destination = route.get("dst", "default")
            yield IPv4Network("0.0.0.0/0" if destination == "default" else destination, strict=False)


def connect(settings: Settings, pid: int) -> None:
    """Join the host and the network namespace of a process, and route the cluster's ranges there."""
    link, ranges = settings.host_link, settings.ranges
    run(["ip", "link", "add", link, "type", "veth", "peer", "name", PEER, "netns", str(pid)])
    run(["ip", "address", "add", f"{ranges.host}/{ranges.link.prefixlen}", "dev", link])
    run(["ip", "link", "set", link, "up"])
    for network in (ranges.pods, ranges.services):
        run(["ip", "route", "add", str(network), "via", str(ranges.node), "dev", link, "onlink"])


def disconnect(link: str) -> None:
    """Remove the veth pair, and with it the routes."""
    if not succeeds(["ip", "link", "show", "dev", link]):
        return
    try:
        run(["ip", "link", "delete", "dev", link])
    except DevclusterError:
        # The kernel drops the pair by itself once the namespace's last process is gone: it may have come first.
        if succeeds(["ip", "link", "show", "dev", link]):
            raise
