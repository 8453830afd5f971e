"""The command line of each of the cluster's processes, and the supervisor's plan of them. Pure."""

import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec

from corefit_devcluster.disk import mounting
from corefit_devcluster.render import METRICS_PORT, api_endpoint
from corefit_devcluster.settings import API_PORT, CONTAINERD_SOCKET, DOMAIN, ETCD_PEER_URL, ETCD_URL, Settings

_AUDIT_MEGABYTES = 100
# Short, in the cluster's own /var/lib: the kubelet makes Unix sockets below it, whose paths may have 107 bytes.
KUBELET_ROOT = "/var/lib/kubelet"


class Process(msgspec.Struct, frozen=True):
    """One process of the cluster.

    Attributes:
        after: "tcp:HOST:PORT" or "unix:PATH" that must accept connections, or "https://..." that must answer well,
            before it is started; empty for none.
    """

    name: str
    command: list[str]
    after: str = ""


class Plan(msgspec.Struct, frozen=True):
    """All that the supervisor needs to know.

    Attributes:
        setup: commands run in order, in the new namespaces, before anything else.
        sysctls: files below /proc/sys of the new network namespace, and their values.
    """

    setup: list[list[str]]
    sysctls: dict[str, str]
    processes: list[Process]
    environment: dict[str, str]
    logs: str
    report: str


def plan(settings: Settings) -> Plan:
    """Say all that the supervisor has to do."""
    return Plan(
        setup=_mounts(settings) + _network(settings),
        sysctls={"net/ipv4/ip_forward": "1"},
        processes=processes(settings),
        environment={"PATH": f"{settings.paths.bin}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
        logs=str(settings.paths.logs),
        report=str(settings.paths.processes),
    )


def supervisor_command(plan_file: Path) -> list[str]:
    """Run the supervisor as the first process of namespaces of its own; it dies with its parent and all with it."""
    namespaces = ["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation", "private"]
    return ["unshare", *namespaces, *supervisor_arguments(plan_file)]


def supervisor_arguments(plan_file: Path) -> list[str]:
    """The supervisor's own command line: how its process is recognised later."""
    return [sys.executable, "-m", "corefit_devcluster.supervisor", str(plan_file)]


def _mounts(settings: Settings) -> list[list[str]]:
    """Hide the host's folders that containerd, runc and the kubelet insist on writing to."""
    logs, kubelet = settings.paths.data / "var-log", settings.paths.data / "kubelet"
    images = settings.paths.data / "containerd"
    disk = [["mkdir", "-p", str(images)], mounting(settings.disk, images)] if settings.disk is not None else []
    return [
        *disk,
        ["mount", "-t", "tmpfs", "-o", "mode=0755", "corefit", "/run"],
        ["mount", "-t", "tmpfs", "-o", "mode=0755", "corefit", "/var/lib"],
        ["mkdir", "-p", str(logs), str(kubelet), KUBELET_ROOT],
        ["mount", "--bind", str(logs), "/var/log"],
        ["mount", "--bind", str(kubelet), KUBELET_ROOT],
    ]


def _network(settings: Settings) -> list[list[str]]:
    """Configure the namespace's end of the veth pair, which the parent has put here, and a dead end for services.

    A connection to a service that does not exist dies on the portless bridge instead of leaving by some route; a
    connection to one that does is translated by kube-proxy's chains, but only if there is a route to begin with.
    """
    ranges = settings.ranges
    return [
        ["ip", "link", "set", "lo", "up"],
        ["ip", "address", "add", f"{ranges.node}/{ranges.link.prefixlen}", "dev", "eth0"],
        ["ip", "link", "set", "eth0", "up"],
        ["ip", "link", "add", "services", "type", "bridge"],
        ["ip", "link", "set", "services", "up"],
        ["ip", "route", "add", str(ranges.services), "dev", "services", "src", str(ranges.node)],
    ]


def processes(settings: Settings) -> list[Process]:
    """List the processes in the order in which they are started."""
    # Not its port alone: before the rights of the controllers are there, they end and are started again.
    api = f"https://{api_endpoint(settings)}/readyz"
    program, config = settings.programs, settings.paths.config
    listed = [
        Process("containerd", [str(program["containerd"]), f"--config={config}/containerd.toml"]),
        Process("etcd", [str(program["etcd"]), *_flags(_etcd(settings))]),
        Process(
            "kube-apiserver", [str(program["kube-apiserver"]), *_flags(_apiserver(settings))], f"tcp:{_host(ETCD_URL)}"
        ),
        Process(
            "kube-controller-manager",
            [str(program["kube-controller-manager"]), *_flags(_controller_manager(settings))],
            api,
        ),
        Process("kube-scheduler", [str(program["kube-scheduler"]), *_flags(_scheduler(settings))], api),
        Process("kube-proxy", [str(program["kube-proxy"]), f"--config={config}/kube-proxy.json"], api),
        Process("kubelet", [str(program["kubelet"]), *_flags(_kubelet(settings))], f"unix:{CONTAINERD_SOCKET}"),
        Process("coredns", [str(program["coredns"]), "-conf", f"{config}/Corefile"], api),
    ]
    if settings.metrics_server:
        command = [str(program["metrics-server"]), *_flags(_metrics_server(settings))]
        listed.append(Process("metrics-server", command, api))
    return listed


def _host(url: str) -> str:
    return url.removeprefix("http://")


def _flags(options: Mapping[str, object]) -> list[str]:
    return [f"--{name}={value}" for name, value in options.items()]


def _etcd(settings: Settings) -> dict[str, object]:
    return {
        "name": settings.node,
        "data-dir": settings.paths.data / "etcd",
        "listen-client-urls": ETCD_URL,
        "advertise-client-urls": ETCD_URL,
        "listen-peer-urls": ETCD_PEER_URL,
        "initial-advertise-peer-urls": ETCD_PEER_URL,
        "initial-cluster": f"{settings.node}={ETCD_PEER_URL}",
        "unsafe-no-fsync": "true",  # the data lives as long as the cluster
        "log-level": "warn",
    }


def _apiserver(settings: Settings) -> dict[str, object]:
    pki = settings.paths.pki
    return {
        "etcd-servers": ETCD_URL,
        "bind-address": settings.address,
        "advertise-address": settings.address,
        "secure-port": API_PORT,
        "service-cluster-ip-range": settings.ranges.services,
        "allow-privileged": "true",
        "authorization-mode": "Node,RBAC",
        "enable-admission-plugins": "NodeRestriction",
        "client-ca-file": pki / "ca.crt",
        "tls-cert-file": pki / "apiserver.crt",
        "tls-private-key-file": pki / "apiserver.key",
        "kubelet-certificate-authority": pki / "ca.crt",
        "kubelet-client-certificate": pki / "apiserver-kubelet.crt",
        "kubelet-client-key": pki / "apiserver-kubelet.key",
        # Else `kubectl logs` looks the node's name up in a DNS that does not know it.
        "kubelet-preferred-address-types": "InternalIP",
        "service-account-issuer": f"https://kubernetes.default.svc.{DOMAIN}",
        "service-account-key-file": pki / "service-accounts.crt",
        "service-account-signing-key-file": pki / "service-accounts.key",
        "requestheader-client-ca-file": pki / "front-proxy-ca.crt",
        "requestheader-allowed-names": "front-proxy-client",
        "requestheader-extra-headers-prefix": "X-Remote-Extra-",
        "requestheader-group-headers": "X-Remote-Group",
        "requestheader-username-headers": "X-Remote-User",
        "proxy-client-cert-file": pki / "front-proxy-client.crt",
        "proxy-client-key-file": pki / "front-proxy-client.key",
        "enable-aggregator-routing": "true",
        "audit-policy-file": settings.paths.config / "audit-policy.json",
        "audit-log-path": settings.paths.audit,
        "audit-log-maxsize": _AUDIT_MEGABYTES,
        "audit-log-maxbackup": 1,
        "profiling": "false",
    }


def _component(settings: Settings, name: str) -> dict[str, object]:
    own = settings.paths.pki / f"{name}.kubeconfig"
    return {
        "kubeconfig": own,
        "authentication-kubeconfig": own,
        "authorization-kubeconfig": own,
        "bind-address": "127.0.0.1",
        "leader-elect": "false",  # there is one of each
        "profiling": "false",
    }


def _controller_manager(settings: Settings) -> dict[str, object]:
    pki = settings.paths.pki
    return {
        **_component(settings, "kube-controller-manager"),
        "allocate-node-cidrs": "false",  # one node: host-local hands out the whole range
        "cluster-cidr": settings.ranges.pods,
        "service-cluster-ip-range": settings.ranges.services,
        "cluster-signing-cert-file": pki / "ca.crt",
        "cluster-signing-key-file": pki / "ca.key",
        "root-ca-file": pki / "ca.crt",
        "service-account-private-key-file": pki / "service-accounts.key",
        "use-service-account-credentials": "true",
    }


def _scheduler(settings: Settings) -> dict[str, object]:
    return _component(settings, "kube-scheduler")


def _kubelet(settings: Settings) -> dict[str, object]:
    return {
        "config": settings.paths.config / "kubelet.json",
        "kubeconfig": settings.paths.pki / "kubelet.kubeconfig",
        "hostname-override": settings.node,
        "node-ip": settings.address,
        "root-dir": KUBELET_ROOT,
    }


def _metrics_server(settings: Settings) -> dict[str, object]:
    own = settings.paths.pki / "metrics-server.kubeconfig"
    return {
        "kubeconfig": own,
        "authentication-kubeconfig": own,
        "authorization-kubeconfig": own,
        "bind-address": settings.address,
        "secure-port": METRICS_PORT,
        "cert-dir": settings.paths.data / "metrics-server",
        "kubelet-preferred-address-types": "InternalIP",
        "kubelet-certificate-authority": settings.paths.pki / "ca.crt",
        "metric-resolution": "15s",
    }
