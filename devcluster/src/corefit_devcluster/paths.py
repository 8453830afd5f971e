"""Where things live: programs and images in the cache, each cluster in one folder of the state.

Only names paths; creating them is the callers' business.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from corefit_devcluster.errors import DevclusterError

# 11 characters: the host's end of the veth pair is called "cf-" + name, and Linux allows 15.
NAME = re.compile(r"[a-z]([a-z0-9-]{0,9}[a-z0-9])?")


@dataclass(frozen=True)
class Home:
    """The two roots that every cluster shares."""

    cache: Path
    state: Path

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> "Home":
        """Follow the XDG base directories, which default to folders in the user's home."""
        home = Path(environment.get("HOME", "/root"))
        cache = Path(environment.get("XDG_CACHE_HOME") or home / ".cache")
        state = Path(environment.get("XDG_STATE_HOME") or home / ".local" / "state")
        return cls(cache=cache / "corefit" / "devcluster", state=state / "corefit" / "devcluster")

    @property
    def programs(self) -> Path:
        """Built programs, one folder for each family, version and set of flags."""
        return self.cache / "programs"

    @property
    def images(self) -> Path:
        """Built images and their base, each named by the hash of its inputs."""
        return self.cache / "images"

    def cluster(self, name: str) -> "ClusterPaths":
        """Name the folder of one cluster, refusing names that cannot be a network interface's."""
        if not NAME.fullmatch(name):
            raise DevclusterError(
                f"{name!r} cannot be a cluster's name: 1 to 11 of a-z, 0-9 and '-', from a letter to a letter or digit"
            )
        return ClusterPaths(self.state / name)


@dataclass(frozen=True)
class ClusterPaths:
    """The files of one cluster: everything it writes is below its root."""

    root: Path

    @property
    def record(self) -> Path:
        """What was made for the cluster: ranges, processes, cgroups."""
        return self.root / "cluster.json"

    @property
    def processes(self) -> Path:
        """What the supervisor says of its processes, rewritten whenever one starts or ends."""
        return self.root / "processes.json"

    @property
    def plan(self) -> Path:
        """What the supervisor has to run."""
        return self.root / "plan.json"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.root / "kubeconfig"

    @property
    def bin(self) -> Path:
        """Links to the programs in use."""
        return self.root / "bin"

    @property
    def logs(self) -> Path:
        """A log for each process."""
        return self.root / "logs"

    @property
    def audit(self) -> Path:
        """The API server's audit log."""
        return self.logs / "audit.log"

    @property
    def pki(self) -> Path:
        """Keys and certificates, with the kubeconfigs that carry them."""
        return self.root / "pki"

    @property
    def config(self) -> Path:
        """Rendered configuration of the processes."""
        return self.root / "config"

    @property
    def data(self) -> Path:
        """What etcd, containerd and the kubelet keep."""
        return self.root / "data"
