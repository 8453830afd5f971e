"""What one cluster is made of, as data: name, addresses, files, programs. Everything is derived from it."""

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path, PurePosixPath

from corefit_devcluster.paths import ClusterPaths
from corefit_devcluster.ranges import Ranges

DOMAIN = "cluster.local"
API_PORT = 6443
DNS_READY_PORT = 8181
# In the cluster's own network namespace, where nobody else's loopback is.
ETCD_URL = "http://127.0.0.1:2379"
ETCD_PEER_URL = "http://127.0.0.1:2380"
# In the cluster's own mount namespace, below a /run of its own.
CONTAINERD_SOCKET = "/run/containerd/containerd.sock"
SANDBOX_IMAGE = "corefit.local/pause:0.1"


@dataclass(frozen=True)
class Settings:
    """One cluster.

    Attributes:
        cgroup_root: the kubelet's --cgroup-root.
        cgroup_v1: whether the pods are on cgroup v1.
        cni: the folder of the CNI plugins.
        snapshotter: how containerd lays image layers over each other.
        disk: a file that is mounted where containerd keeps images (`disk`); None where the folder itself serves.
        programs: where each program is.
        deadline_scale: how many times as long as on other machines its parts wait for each other.
    """

    name: str
    ranges: Ranges
    paths: ClusterPaths
    cgroup_root: PurePosixPath
    cgroup_v1: bool
    cni: Path
    snapshotter: str
    programs: Mapping[str, Path]
    disk: Path | None = None
    metrics_server: bool = False
    deadline_scale: float = 1.0

    @property
    def node(self) -> str:
        """The node's name."""
        return f"corefit-{self.name}"

    @property
    def address(self) -> IPv4Address:
        """The node's address."""
        return self.ranges.node

    @property
    def server(self) -> str:
        """The API server's URL, the same from the host, the node and the pods."""
        return f"https://{self.address}:{API_PORT}"

    @property
    def host_link(self) -> str:
        """The host's end of the veth pair."""
        return f"cf-{self.name}"
