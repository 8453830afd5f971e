"""The real cluster, once a run; a namespace a test, with restricted Pod Security enforced.

KUBECONFIG names a cluster of one's own, and COREFIT_TEST_VALUES then the chart's values with images that it can pull;
otherwise corefit-devcluster makes one and takes it down. Where neither can be had the tests are skipped on a person's
machine and fail where CI is set.
"""

import functools
import json
import os
import shutil
import socket
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from faults.operators import Nursery

from corefit_core import naming
from corefit_core.report import Report, decode

ROOT = Path(__file__).parents[2]
SYSTEM = "corefit-system"
CLUSTER = os.environ.get("COREFIT_TEST_CLUSTER", "e2e")
DEADLINE_S = 600.0
"""Seconds; what waits this long has failed. Neighbours of this machine steal nine tenths of its CPU for minutes."""


class Kube:
    """kubectl and helm against one cluster and namespace."""

    patience = f"--timeout={DEADLINE_S:.0f}s"
    chart = ("charts/corefit", "--values", os.environ.get("COREFIT_TEST_VALUES", "devcluster/chart-values.yaml"))
    """The chart with the names of the images: of the devcluster, or in the values of whoever brings a cluster."""
    """For a program that waits itself."""

    def __init__(self, environment: dict[str, str], namespace: str = "default") -> None:
        self.environment = environment
        self.namespace = namespace

    def run(self, *command: str, stdin: str | None = None, check: bool = True) -> subprocess.CompletedProcess[str]:
        program = shutil.which(command[0], path=self.environment["PATH"])
        assert program, f"{command[0]} is not in PATH"
        done = subprocess.run(
            [program, *command[1:]],
            cwd=ROOT,
            env=self.environment,
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )
        assert not check or done.returncode == 0, f"{' '.join(command)}: {done.stdout}{done.stderr}"
        return done

    def kubectl(self, *arguments: str, stdin: str | None = None, check: bool = True) -> str:
        done = self.run("kubectl", "--namespace", self.namespace, *arguments, stdin=stdin, check=check)
        return done.stdout + ("" if check else done.stderr)

    def get(self, *arguments: str) -> Any:
        return json.loads(self.kubectl("get", *arguments, "--output", "json"))

    def find(self, *arguments: str) -> Any:
        """The object, or an empty one when there is none."""
        return json.loads(self.kubectl("get", "--ignore-not-found", *arguments, "--output", "json") or "{}")

    def apply(self, document: dict[str, Any], *, check: bool = True, dry_run: bool = False) -> str:
        options = ("--dry-run=server",) if dry_run else ()
        return self.kubectl("apply", *options, "-f", "-", stdin=json.dumps(document), check=check)

    def until(self, what: str, holds: Callable[[], Any], deadline_s: float = DEADLINE_S) -> Any:
        """What `holds` returns once it is true; fails with the namespace's state when it never is."""
        end = time.monotonic() + deadline_s
        while not (value := holds()):
            if time.monotonic() > end:
                seen = self.kubectl("get", "inferenceservices,deployments,pods,events", check=False)
                log = self.run("kubectl", "-n", SYSTEM, "logs", "deploy/corefit", "--tail=40", check=False).stdout
                pytest.fail(f"not within {deadline_s:.0f} s: {what}\n{seen}\n{log}")
            # An API server has no call that waits for an arbitrary condition: half a second between looks.
            time.sleep(0.5)
        return value

    def served(self, plural: str) -> None:
        """Waits until objects of a kind may be asked for: some time after its CRD is established."""
        self.until(f"{plural} are served", lambda: self.run("kubectl", "get", plural, check=False).returncode == 0)

    def draw_files(self) -> None:
        """What the pods of examples/sidecar run, without those pods."""
        files = (f"--from-file=examples/sidecar/{name}" for name in ("app.py", "index.html"))
        self.kubectl("create", "configmap", "draw", *files)

    def rolled_out(self, workload: str) -> None:
        """Waits until all pods of a workload are of its template, and available."""
        self.kubectl("rollout", "status", workload, self.patience)

    def report(self, pod: str, port: int = naming.PORT_ADMIN) -> Report | None:
        """What a pod's runtime tells; None while it doesn't answer."""
        path = f"/api/v1/namespaces/{self.namespace}/pods/{pod}:{port}/proxy/report"
        done = self.run("kubectl", "get", "--raw", path, check=False)
        return decode(done.stdout.encode()) if done.returncode == 0 else None

    @property
    def system(self) -> "Kube":
        """The operator's namespace."""
        return Kube(self.environment, SYSTEM)

    def scale_operator(self, replicas: int) -> None:
        """So many operators in the cluster; with 0, also none that is about to end."""
        self.system.kubectl("scale", "deployment/corefit", f"--replicas={replicas}")
        self.system.rolled_out("deployment/corefit")
        if replicas == 0:
            selector = "app.kubernetes.io/name=corefit-operator"
            self.system.kubectl("wait", "--for=delete", "pod", "--selector", selector, self.patience)

    def kill_operators(self) -> None:
        """Ends those in the cluster, at once; others come in their place."""
        names = self.system.kubectl("get", "pods", "--output", "name").split()
        self.system.kubectl("delete", "--grace-period=0", "--force", *names)

    def condition(self, name: str, kind: str) -> dict[str, Any]:
        conditions = self.get("inferenceservice", name).get("status", {}).get("conditions", [])
        return next((c for c in conditions if c["type"] == kind), {})

    def wait_condition(self, name: str, kind: str, status: str) -> dict[str, Any]:
        def holds() -> dict[str, Any]:
            found = self.condition(name, kind)
            return found if found.get("status") == status else {}

        return self.until(f"{name} {kind}={status}", holds)

    def address(self, service: str) -> str:
        """`http://HOST:PORT` of a Service, once it takes connections.

        A node's kube-proxy learns of a pod up to a second after the pod's conditions and its Deployment have counted
        it; until then it refuses for the Service.
        """
        spec = self.get("service", service)["spec"]
        host, port = spec["clusterIP"], next(p["port"] for p in spec["ports"] if p.get("name", "http") == "http")

        def connects() -> bool:
            try:
                socket.create_connection((host, port), timeout=1).close()
            except OSError:
                return False
            return True

        self.until(f"{service} takes connections at {host}:{port}", connects)
        return f"http://{host}:{port}"

    def url(self, name: str) -> str:
        return f"{self.address(name)}/v2/models/{name}/infer"


def _unavailable() -> str:
    if os.environ.get("KUBECONFIG"):
        return ""
    if os.uname().sysname != "Linux" or os.geteuid() != 0:
        return "making a cluster needs Linux and root; set KUBECONFIG to use one of your own"
    return ""


def _tool(*arguments: str) -> str:
    return subprocess.run(
        ["corefit-devcluster", *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True
    ).stdout


def _environment() -> dict[str, str]:
    exports = dict(line.removeprefix("export ").split("=", 1) for line in _tool("env", "--name", CLUSTER).splitlines())
    path = exports["PATH"].replace("$PATH", os.environ["PATH"])
    return {**os.environ, "KUBECONFIG": exports["KUBECONFIG"].strip("'"), "PATH": path}


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest) -> Iterator[Kube]:
    why_not = _unavailable()
    if why_not and os.environ.get("CI"):
        pytest.fail(why_not)
    if why_not:
        pytest.skip(why_not)
    if os.environ.get("KUBECONFIG"):
        yield Kube(dict(os.environ))
        return
    archives = _tool("images").split()
    metered = any(item.get_closest_marker("metrics_server") for item in request.session.items)
    _tool("up", *(["--metrics-server"] if metered else []), "--name", CLUSTER)
    try:
        _tool("load-images", "--name", CLUSTER, *archives)
        yield Kube(_environment())
    finally:
        _tool("down", "--name", CLUSTER)


@pytest.fixture(scope="session")
def crds(cluster: Kube) -> Kube:
    """The CRD by plain `kubectl apply`, as a person without Helm installs it."""
    cluster.kubectl("apply", "--server-side", "-f", "crds/")
    cluster.served("inferenceservices")
    return cluster


@pytest.fixture(scope="session")
def operator(crds: Kube) -> Kube:
    """The operator in the cluster, under its own ServiceAccount, by Helm."""
    release = ("corefit", *crds.chart, "--namespace", SYSTEM, "--create-namespace")
    # The CRD is there already, by kubectl: a chart must be installable beside it.
    crds.run("helm", "upgrade", "--install", *release, "--set", "crds.install=false", "--wait", crds.patience)
    return crds


def _namespaced(cluster: Kube) -> Iterator[Kube]:
    name = f"t-{uuid.uuid4().hex[:8]}"
    cluster.kubectl("create", "namespace", name)
    cluster.kubectl("label", "namespace", name, "pod-security.kubernetes.io/enforce=restricted")
    yield Kube(cluster.environment, name)
    cluster.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture
def api(crds: Kube) -> Iterator[Kube]:
    """A namespace where only the CRD is looked at."""
    yield from _namespaced(crds)


@pytest.fixture
def kube(operator: Kube) -> Iterator[Kube]:
    """A namespace with the examples' model server, and an operator that looks at it."""
    for namespaced in _namespaced(operator):
        namespaced.kubectl("apply", "-k", "examples")
        namespaced.rolled_out("deployment/models")
        # A runtime that is refused says so, and tries again seconds later.
        namespaced.address("models")
        yield namespaced


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    """Starts operators outside the cluster."""
    made = Nursery()
    yield made
    made.close()


@pytest.fixture(scope="module")
def none_inside(crds: Kube) -> Iterator[None]:
    """No operator inside the cluster while a module's tests have some outside: it would do their work."""
    inside = crds.system.find("deployment", "corefit")
    if inside:
        crds.scale_operator(0)
    try:
        yield
    finally:
        if inside:
            crds.scale_operator(2)


@pytest.fixture
def outside(crds: Kube, none_inside: None) -> Iterator[Kube]:
    """A namespace for operators outside the cluster."""
    yield from _namespaced(crds)


@functools.cache
def _checksum(name: str) -> str:
    import hashlib

    return hashlib.sha256((ROOT / "examples" / name / "model.onnx").read_bytes()).hexdigest()


@pytest.fixture
def service() -> Callable[..., dict[str, Any]]:
    """An InferenceService of the digits model; keywords are merged into its spec."""

    def make(name: str = "digits", **spec: Any) -> dict[str, Any]:
        base: dict[str, Any] = {
            "model": {"uri": "http://models/digits.onnx", "sha256": _checksum("digits")},
            "resources": {"cpu": "200m", "memory": "256Mi"},
            "objective": {"percentile": 99, "latencyMilliseconds": 500},
            "scaling": {"mode": "Manual", "replicas": 1},
        }
        return {
            "apiVersion": "serving.corefit.dev/v1alpha1",
            "kind": "InferenceService",
            "metadata": {"name": name},
            "spec": {**base, **spec},
        }

    return make
