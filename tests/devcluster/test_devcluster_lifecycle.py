"""A real cluster from its start to its end: pods, names, resize, and nothing left behind, also after kill -9."""

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from rich.console import Console

from corefit_devcluster.host import program
from corefit_devcluster.images import BASE_IMAGE, ImageBuilder
from corefit_devcluster.keeper import find
from corefit_devcluster.paths import Home
from corefit_devcluster.progress import Reporter

pytestmark = pytest.mark.cluster

NAME = "life"
REPORTER = Reporter(Console(stderr=True))
POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "web"},
    "spec": {
        "terminationGracePeriodSeconds": 0,
        "containers": [
            {
                "name": "web",
                "image": BASE_IMAGE,
                "imagePullPolicy": "IfNotPresent",
                "command": ["python3", "-m", "http.server", "8000"],
                "readinessProbe": {"httpGet": {"path": "/", "port": 8000}, "periodSeconds": 1},
                "resources": {"limits": {"cpu": "200m", "memory": "64Mi"}},
            }
        ],
    },
}
LOOK_UP = "import socket; print(socket.gethostbyname('kubernetes.default.svc'))"


@dataclass(frozen=True)
class Devcluster:
    """The command line with a state folder of its own, beside whatever clusters run already."""

    environment: dict[str, str]

    @property
    def home(self) -> Home:
        return Home.of(self.environment)

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        program = Path(sys.executable).with_name("corefit-devcluster")
        return subprocess.run([program, *arguments], env=self.environment, capture_output=True, text=True, check=False)

    def ok(self, *arguments: str) -> str:
        done = self(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def kubectl(self, *arguments: str, stdin: str = "") -> str:
        paths = self.home.cluster(NAME)
        command = [paths.bin / "kubectl", f"--kubeconfig={paths.kubeconfig}", *arguments]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture
def devcluster(tmp_path: Path) -> Iterator[Devcluster]:
    if os.geteuid() != 0 or not sys.platform.startswith("linux"):
        if os.environ.get("CI"):
            pytest.fail("CI has to run this: it needs Linux and root")
        pytest.skip("needs Linux and root")
    tool = Devcluster({**os.environ, "XDG_STATE_HOME": str(tmp_path)})
    yield tool
    tool.ok("down", "--name", NAME)


def traces(tool: Devcluster) -> dict[str, list[str]]:
    """Whatever of the cluster can be seen from the host."""

    def lines(*command: str) -> list[str]:
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
        return [line for line in said if f"cf-{NAME}" in line]

    ip = program("ip", REPORTER)
    mounts = Path("/proc/self/mounts").read_text().splitlines()
    return {
        "links": lines(ip, "-o", "link"),
        "routes": lines(ip, "route", "show", "table", "all"),
        "mounts": [line for line in mounts if str(tool.home.state) in line or f"corefit-{NAME}" in line],
        # Not by a glob, which fails where a cgroup of somebody else's goes meanwhile.
        "cgroups": [folder for folder, _, _ in os.walk("/sys/fs/cgroup") if Path(folder).name == f"corefit-{NAME}"],
        "files": [str(path) for path in tool.home.state.glob(f"{NAME}/*")],
    }


def host_settings() -> dict[str, str]:
    """What a cluster that is not in namespaces of its own would have changed."""
    chains = subprocess.run([program("iptables-save", REPORTER)], capture_output=True, text=True, check=True).stdout
    return {
        "forwarding": Path("/proc/sys/net/ipv4/ip_forward").read_text(),
        "chains": "\n".join(line for line in chains.splitlines() if "KUBE" in line or "CNI" in line),
        "names": "\n".join(sorted(str(path) for path in Path("/run/netns").glob("*"))),
    }


def descendants(root: int) -> dict[int, str]:
    """Every process below one, with its start time: the two together are never used twice."""
    parents, births = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(") ")[2].split()
        except OSError:
            continue
        parents[int(folder.name)], births[int(folder.name)] = int(fields[1]), fields[19]
    found = {root: births[root]}
    while more := {pid: births[pid] for pid, parent in parents.items() if parent in found and pid not in found}:
        found.update(more)
    return found


def alive(processes: dict[int, str]) -> list[int]:
    """Those that still are; not one that has ended, and whose parent has yet to hear of it."""
    return [pid for pid, birth in processes.items() if birth == _birth(pid)]


def _birth(pid: int) -> str:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    except OSError:
        return ""
    return "" if fields[0] == "Z" else fields[19]


def start_pod(tool: Devcluster) -> None:
    base = ImageBuilder(tool.home, REPORTER).base()
    tool.ok("load-images", "--name", NAME, str(base))
    tool.kubectl("apply", "-f", "-", stdin=json.dumps(POD))
    tool.kubectl("wait", "--for=condition=Ready", "pod/web", "--timeout=600s")


def test_a_cluster_serves_pods_and_leaves_nothing(devcluster: Devcluster) -> None:
    before = host_settings()
    assert devcluster("status", "--name", NAME).returncode == 1
    devcluster.ok("up", "--name", NAME)
    keeper = find(devcluster.home.cluster(NAME))
    assert keeper is not None

    devcluster.ok("up", "--name", NAME)
    assert find(devcluster.home.cluster(NAME)) == keeper, "a second up starts nothing"
    assert json.loads(devcluster.ok("status", "--name", NAME, "--json"))["ready"] is True
    assert "export KUBECONFIG=" in devcluster.ok("env", "--name", NAME)
    assert host_settings() == before, "the host is as it was while the cluster runs"

    start_pod(devcluster)
    service = devcluster.kubectl("get", "service", "kubernetes", "-o", "jsonpath={.spec.clusterIP}")
    assert devcluster.kubectl("exec", "web", "--", "python3", "-c", LOOK_UP).strip() == service
    more = {"limits": {"cpu": "400m"}, "requests": {"cpu": "400m"}}
    larger = {"spec": {"containers": [{"name": "web", "resources": more}]}}
    devcluster.kubectl("patch", "pod", "web", "--subresource=resize", "-p", json.dumps(larger))
    granted = "{.status.containerStatuses[0].resources.limits.cpu}"
    devcluster.kubectl("wait", f"--for=jsonpath={granted}=400m", "pod/web", "--timeout=600s")

    processes = descendants(keeper.supervisor)
    assert len(processes) > 8
    devcluster.ok("down", "--name", NAME)
    assert alive(processes) == []
    assert traces(devcluster) == {"links": [], "routes": [], "mounts": [], "cgroups": [], "files": []}
    assert host_settings() == before


def test_a_killed_supervisor_takes_all_with_it(devcluster: Devcluster) -> None:
    devcluster.ok("up", "--name", NAME)
    start_pod(devcluster)
    keeper = find(devcluster.home.cluster(NAME))
    assert keeper is not None
    processes = descendants(keeper.supervisor)
    ending = os.pidfd_open(keeper.outer)
    os.kill(keeper.supervisor, signal.SIGKILL)
    _wait(ending)
    assert alive(processes) == [], "the kernel ends everything in the namespace"
    assert devcluster("status", "--name", NAME).returncode == 1

    devcluster.ok("down", "--name", NAME)
    assert traces(devcluster) == {"links": [], "routes": [], "mounts": [], "cgroups": [], "files": []}


def _wait(descriptor: int) -> None:
    try:
        assert select.select([descriptor], [], [], 600)[0], "the namespace did not end"
    finally:
        os.close(descriptor)
