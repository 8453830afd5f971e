"""The programs that make a cluster: which versions, from which modules, built how.

A table and pure functions over it: no file is read and nothing is run here.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass

KUBERNETES = "1.36.3"
_MAJOR, _MINOR, _ = KUBERNETES.split(".")
_STAMP = "k8s.io/component-base/version"


@dataclass(frozen=True)
class Program:
    """One executable.

    Attributes:
        name: the file's name.
        package: the Go package that it is built from.
        version_command: arguments that make it print its version; empty when it is only built, never found.
        version_pattern: what the output must match for a program found on this machine to be used.
    """

    name: str
    package: str
    version_command: tuple[str, ...] = ()
    version_pattern: str = ""

    def accepts(self, output: str) -> bool:
        """Say whether the output of the version command is that of the very version we need."""
        return bool(self.version_command) and re.search(self.version_pattern, output) is not None


@dataclass(frozen=True)
class Family:
    """Programs of one Go module, built in one go with the same flags.

    Attributes:
        name: the folder below go/ that pins the module.
        minutes: of a cold build on two cores, downloads included: what a person is told to expect.
    """

    name: str
    version: str
    minutes: float
    programs: tuple[Program, ...]
    tags: tuple[str, ...] = ()
    stamps: tuple[tuple[str, str], ...] = ()
    cgo: bool = False

    @property
    def ldflags(self) -> str:
        """Strip symbols, and stamp what the module's own build would stamp."""
        return " ".join(["-s", "-w", *(f"-X {name}={value}" for name, value in self.stamps)])

    def build_flags(self) -> list[str]:
        """Arguments of `go build` and `go list`; -p 2 leaves the rest of the machine to its owner."""
        tags = [f"-tags={','.join(self.tags)}"] if self.tags else []
        return ["-p=2", "-trimpath", "-buildvcs=false", "-mod=readonly", *tags, f"-ldflags={self.ldflags}"]

    def build_environment(self) -> dict[str, str]:
        """Variables that decide the outcome, so that the caller's own cannot."""
        return {"CGO_ENABLED": "1" if self.cgo else "0", "GOFLAGS": "", "GOWORK": "off"}

    def cache_key(self, pins: Mapping[str, bytes], platform: str) -> str:
        """Name the cache folder: version, then a hash of the pinned sources, the flags and the platform."""
        digest = hashlib.sha256()
        for part in (platform, *self.build_flags(), str(self.cgo), *(p.package for p in self.programs)):
            digest.update(part.encode() + b"\0")
        for name in sorted(pins):
            digest.update(name.encode() + b"\0" + pins[name] + b"\0")
        return f"{self.name}-{self.version}-{digest.hexdigest()[:12]}"


def _kubernetes(name: str, *command: str) -> Program:
    return Program(name, f"k8s.io/kubernetes/cmd/{name}", command, rf"v{re.escape(KUBERNETES)}(\s|$)")


def _containerd(name: str, *command: str) -> Program:
    return Program(name, f"github.com/containerd/containerd/v2/cmd/{name}", command, r"v?2\.3\.5(\s|$)")


FAMILIES: tuple[Family, ...] = (
    Family(
        "kubernetes",
        KUBERNETES,
        minutes=13,
        programs=(
            _kubernetes("kube-apiserver", "--version"),
            _kubernetes("kube-controller-manager", "--version"),
            _kubernetes("kube-scheduler", "--version"),
            _kubernetes("kube-proxy", "--version"),
            _kubernetes("kubelet", "--version"),
            _kubernetes("kubectl", "version", "--client"),
        ),
        # An unstamped build calls itself v0.0.0, which breaks the kubeVersion of Helm charts.
        stamps=(
            (f"{_STAMP}.gitVersion", f"v{KUBERNETES}"),
            (f"{_STAMP}.gitMajor", _MAJOR),
            (f"{_STAMP}.gitMinor", _MINOR),
        ),
    ),
    Family(
        "etcd",
        "3.6.16",
        minutes=1,
        programs=(Program("etcd", "go.etcd.io/etcd/server/v3", ("--version",), r"etcd Version: 3\.6\.16\b"),),
    ),
    Family(
        "containerd",
        "2.3.5",
        minutes=1.5,
        programs=(
            _containerd("containerd", "--version"),
            _containerd("containerd-shim-runc-v2", "-v"),
            _containerd("ctr", "--version"),
        ),
        tags=("no_btrfs", "no_devmapper", "no_zfs"),
        stamps=(("github.com/containerd/containerd/v2/version.Version", "v2.3.5"),),
    ),
    Family(
        "runc",
        "1.4.3",
        minutes=0.5,
        # Without seccomp every pod that asks for the RuntimeDefault profile fails, and so does its sandbox.
        programs=(
            Program(
                "runc", "github.com/opencontainers/runc", ("--version",), r"(?s)runc version 1\.4\.3\b.*libseccomp"
            ),
        ),
        tags=("seccomp",),
        cgo=True,
    ),
    Family(
        "coredns",
        "1.15.0",
        minutes=1,
        # A main of our own, with the plugins of our Corefile: CoreDNS's own has the clouds' SDKs, 700 packages more.
        programs=(Program("coredns", "corefit.dev/devcluster/coredns", ("-version",), r"CoreDNS-1\.15\.0\b"),),
    ),
    Family(
        "helm",
        "4.2.4",
        minutes=2.5,
        programs=(Program("helm", "helm.sh/helm/v4/cmd/helm", ("version", "--short"), r"v4\.2\.4\b"),),
        stamps=(("helm.sh/helm/v4/internal/version.version", "v4.2.4"),),
    ),
    Family("pause", "0.1", minutes=0.1, programs=(Program("pause", "corefit.dev/devcluster/pause"),)),
)

METRICS_SERVER = Family(
    "metrics-server",
    "0.9.0",
    minutes=4,
    programs=(
        Program("metrics-server", "sigs.k8s.io/metrics-server/cmd/metrics-server", ("--version",), r"v0\.9\.0\b"),
    ),
    stamps=(("sigs.k8s.io/metrics-server/pkg/version.gitVersion", "v0.9.0"),),
)
