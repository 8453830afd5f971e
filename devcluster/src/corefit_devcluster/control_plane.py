"""A Kubernetes without nodes: etcd, an API server and, where wanted, controllers, as plain processes on loopback.

What runs in it is what its user says by API calls. Needs neither root nor namespaces, is there in seconds, and ends
with the process that made it. For programs that talk to the API server and care for nothing below it.
"""

import http.client
import json
import random
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address
from pathlib import Path
from typing import Self

from corefit_devcluster.deadlines import stretched
from corefit_devcluster.errors import StartError
from corefit_devcluster.pki import Authority, kubeconfig, signing_key
from corefit_devcluster.run import tail
from corefit_devcluster.settings import API_PORT

PROGRAMS = ("etcd", "kube-apiserver", "kube-controller-manager")
# As many as a whole cluster has: see `ready`.
READY_SECONDS = 300.0
LOOK_AGAIN_SECONDS = 0.1
END_SECONDS = 120.0
ETCD_PORTS = (2379, 2380)
# The account is one file, however long the control plane runs: by default another is begun at 100 MB.
_AUDIT_MEGABYTES = 100_000
WRITES = ("create", "update", "patch", "delete", "deletecollection")
# Of kube-apiserver; it looks for ServiceAccounts that only controllers would make.
NEEDS_CONTROLLERS = "ServiceAccount"


class ControlPlane:
    """Runs as long as the block that it is entered by.

    Args:
        folder: for data, keys and logs; removed by whoever made it.
        programs: by name, as `build.Builder` finds them.
        controllers: of kube-controller-manager; none runs where none is named.
    """

    def __init__(self, folder: Path, programs: Mapping[str, Path], controllers: Sequence[str] = ()) -> None:
        self.address = _free_address()
        self.server = f"https://{self.address}:{API_PORT}"
        self.audit = folder / "audit.log"
        self._folder = folder
        self._programs = programs
        self._controllers = tuple(controllers)
        self._authority = Authority("corefit-control-plane")
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        self._write_keys()
        try:
            self._start("etcd", self._etcd())
            self._start("kube-apiserver", self._apiserver())
            self.wait()
            if self._controllers:
                self._start("kube-controller-manager", self._controller_manager())
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for process in reversed(self._running.values()):
            process.send_signal(signal.SIGKILL)
            process.wait(stretched(END_SECONDS))

    def user(self, name: str) -> Path:
        """A kubeconfig of a user of this name, who may do everything."""
        path = self._folder / f"{name}.kubeconfig"
        user = self._authority.client(name, "system:masters")
        path.touch(mode=0o600)
        path.write_text(kubeconfig("control-plane", self.server, self._authority.pair.certificate, user))
        return path

    def pids(self) -> Mapping[str, int]:
        """The process id of each program."""
        return {name: process.pid for name, process in self._running.items()}

    def wait(self) -> None:
        """Until the API server is ready."""
        deadline = time.monotonic() + stretched(READY_SECONDS)
        while not self._ready():
            ended = [name for name, process in self._running.items() if process.poll() is not None]
            if ended or time.monotonic() > deadline:
                raise StartError(f"{ended or 'the API server'}: {tail(self._log('kube-apiserver').read_text())}")
            time.sleep(LOOK_AGAIN_SECONDS)  # an API server that starts tells nobody when it is ready

    def _ready(self) -> bool:
        context = ssl.create_default_context(cafile=str(self._folder / "ca.crt"))
        connection = http.client.HTTPSConnection(str(self.address), API_PORT, timeout=stretched(5), context=context)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _start(self, name: str, options: Mapping[str, object]) -> None:
        flags = [f"--{option}={value}" for option, value in options.items()]
        # Nothing may outlive the process that made it, however that ends.
        command = ["setpriv", "--pdeathsig", "KILL", str(self._programs[name]), *flags]
        with self._log(name).open("ab") as log:
            self._running[name] = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def _log(self, name: str) -> Path:
        return self._folder / f"{name}.log"

    def _write_keys(self) -> None:
        pairs = {
            "ca": self._authority.pair,
            "apiserver": self._authority.server("kube-apiserver", [self.address]),
            "service-accounts": signing_key(),
        }
        for name, pair in pairs.items():
            key = self._folder / f"{name}.key"
            key.touch(mode=0o600)
            key.write_bytes(pair.key)
            (self._folder / f"{name}.crt").write_bytes(pair.certificate)
        (self._folder / "audit-policy.json").write_text(json.dumps(audit_policy()))

    def _etcd(self) -> dict[str, object]:
        client, peer = (f"http://{self.address}:{port}" for port in ETCD_PORTS)
        return {
            "data-dir": self._folder / "etcd",
            "listen-client-urls": client,
            "advertise-client-urls": client,
            "listen-peer-urls": peer,
            "initial-advertise-peer-urls": peer,
            "initial-cluster": f"default={peer}",
            "unsafe-no-fsync": "true",  # the data lives as long as the process
            "log-level": "warn",
        }

    def _apiserver(self) -> dict[str, object]:
        folder = self._folder
        return {
            "etcd-servers": f"http://{self.address}:{ETCD_PORTS[0]}",
            "bind-address": self.address,
            "advertise-address": self.address,
            "endpoint-reconciler-type": "none",  # no Service leads to a loopback address
            "secure-port": API_PORT,
            "authorization-mode": "RBAC",
            "client-ca-file": folder / "ca.crt",
            "tls-cert-file": folder / "apiserver.crt",
            "tls-private-key-file": folder / "apiserver.key",
            "service-account-issuer": "https://kubernetes.default.svc",
            "service-account-key-file": folder / "service-accounts.crt",
            "service-account-signing-key-file": folder / "service-accounts.key",
            "service-cluster-ip-range": "10.99.0.0/16",
            "audit-policy-file": folder / "audit-policy.json",
            "audit-log-path": self.audit,
            "audit-log-maxsize": _AUDIT_MEGABYTES,
            "profiling": "false",
            **({} if self._controllers else {"disable-admission-plugins": NEEDS_CONTROLLERS}),
        }

    def _controller_manager(self) -> dict[str, object]:
        own = self.user("system:kube-controller-manager")
        return {
            "kubeconfig": own,
            "authentication-kubeconfig": own,
            "authorization-kubeconfig": own,
            "bind-address": self.address,
            "controllers": ",".join(self._controllers),
            "leader-elect": "false",
            "profiling": "false",
        }


def audit_policy() -> dict[str, object]:
    """Every write but of Events and Leases, which never ends, and of a scaling what it asked for."""
    quiet = [{"group": "", "resources": ["events"]}, {"group": "events.k8s.io", "resources": ["events"]}]
    quiet += [{"group": "coordination.k8s.io", "resources": ["leases"]}]
    scale = [{"group": "apps", "resources": ["deployments/scale"]}]
    return {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [
            {"level": "None", "resources": quiet},
            {"level": "Request", "verbs": list(WRITES), "resources": scale},
            {"level": "Metadata", "verbs": list(WRITES)},
            {"level": "None"},
        ],
    }


def _free_address() -> IPv4Address:
    """A loopback address on which nobody listens: all of 127.0.0.0/8 is this machine."""
    while True:
        address = IPv4Address(f"127.{random.randint(64, 250)}.{random.randint(0, 250)}.1")  # noqa: S311 - no secret
        with socket.socket() as probe:
            if probe.connect_ex((str(address), API_PORT)):
                return address
