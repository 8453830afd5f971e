"""Waiting until a cluster answers, and saying what it lacks. Reads; changes nothing but the cluster's own add-ons."""

import http.client
import ssl
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from corefit_devcluster.deadlines import stretched
from corefit_devcluster.errors import DevclusterError, StartError
from corefit_devcluster.keeper import Keeper, find
from corefit_devcluster.paths import ClusterPaths
from corefit_devcluster.progress import Step
from corefit_devcluster.run import run, succeeds, tail
from corefit_devcluster.settings import API_PORT, DNS_READY_PORT, Settings
from corefit_devcluster.supervisor import State

# 20 s on a quiet machine; neighbours have been seen to steal nine tenths of this one's CPU for minutes.
READY_SECONDS = 300.0
LOOK_AGAIN_SECONDS = 0.2
# A process that was restarted this often during a start is broken, not early.
TOO_MANY_STARTS = 6


class Check(msgspec.Struct, frozen=True):
    """One thing that a ready cluster has."""

    name: str
    good: bool
    detail: str = ""


def processes(paths: ClusterPaths) -> list[State]:
    """Read what the supervisor reports of its processes; nothing when it is gone, and they with it."""
    if find(paths) is None:
        return []
    try:
        return msgspec.json.decode(paths.processes.read_bytes(), type=list[State])
    except (FileNotFoundError, msgspec.MsgspecError):
        return []


def checks(paths: ClusterPaths, node: str, address: str) -> list[Check]:
    """Look at everything once."""
    if find(paths) is None:
        return [Check("supervisor", good=False, detail="not running")]
    down = [state.name for state in processes(paths) if not state.pid]
    found = [
        Check("processes", not down and bool(processes(paths)), f"down: {', '.join(down)}" if down else "all running"),
        Check("api", api_ready(paths, address), f"https://{address}:{API_PORT}"),
    ]
    if found[-1].good:
        found.append(_node_check(paths, node))
        found.append(Check("dns", dns_ready(address), f"{address}:53"))
    return found


def _node_check(paths: ClusterPaths, node: str) -> Check:
    jsonpath = '{.status.conditions[?(@.type=="Ready")].status}'
    try:
        said = run([*kubectl(paths), "get", "node", node, "-o", f"jsonpath={jsonpath}"], timeout=stretched(30))
    except DevclusterError as error:
        return Check("node", good=False, detail=tail(str(error), 1))
    return Check("node", said == "True", f"{node} Ready={said or 'unknown'}")


def wait(settings: Settings, step: Step) -> None:
    """Wait until pods can be created and resolve names; StartError, with the end of a log, when that cannot be."""
    paths, address = settings.paths, str(settings.address)
    patience = stretched(READY_SECONDS)
    deadline = time.monotonic() + patience
    step.at(1, "API server")
    _until(paths, lambda: api_ready(paths, address), deadline, "kube-apiserver")
    _apply_addons(paths, deadline)
    step.at(2, "node")
    _kubectl_wait(paths, deadline, "create", f"node/{settings.node}", "kubelet")
    _kubectl_wait(paths, deadline, "condition=Ready", f"node/{settings.node}", "kubelet")
    step.at(3, "service account of the default namespace")
    _kubectl_wait(paths, deadline, "create", "serviceaccount/default", "kube-controller-manager")
    step.at(4, "DNS")
    _until(paths, lambda: dns_ready(address), deadline, "coredns")


def _apply_addons(paths: ClusterPaths, deadline: float) -> None:
    """Apply them as soon as the API server takes them: one that has just started may still refuse, or be slow.

    Without validation by kubectl, which would wait 32 s at most for the schema of all of Kubernetes.
    """
    command = [*kubectl(paths), "apply", "--server-side", "--validate=false", "-f", str(paths.config / "addons.json")]
    while True:
        try:
            run(command, timeout=stretched(READY_SECONDS))
        except DevclusterError:
            if time.monotonic() > deadline:
                raise
            _refuse_hopeless(paths, deadline, "kube-apiserver")
            time.sleep(LOOK_AGAIN_SECONDS)
        else:
            return


def kubectl(paths: ClusterPaths) -> list[str]:
    """Begin a kubectl command line for a cluster."""
    return [str(paths.bin / "kubectl"), f"--kubeconfig={paths.kubeconfig}"]


def api_ready(paths: ClusterPaths, address: str) -> bool:
    """Ask the API server's /readyz, trusting the cluster's own authority only."""
    authority = paths.pki / "ca.crt"
    if not authority.exists():
        return False
    context = ssl.create_default_context(cafile=str(authority))
    return _answers(http.client.HTTPSConnection(address, API_PORT, timeout=stretched(5), context=context), "/readyz")


def dns_ready(address: str) -> bool:
    """Ask CoreDNS whether it has read the cluster's services."""
    return _answers(http.client.HTTPConnection(address, DNS_READY_PORT, timeout=stretched(5)), "/ready")


def _answers(connection: http.client.HTTPConnection, path: str) -> bool:
    try:
        connection.request("GET", path)
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _until(paths: ClusterPaths, condition: Callable[[], bool], deadline: float, culprit: str) -> None:
    while not condition():
        _refuse_hopeless(paths, deadline, culprit)
        time.sleep(LOOK_AGAIN_SECONDS)


def _kubectl_wait(paths: ClusterPaths, deadline: float, condition: str, target: str, culprit: str) -> None:
    """Watch for a condition in slices, so that a process that has died meanwhile is noticed."""
    while not succeeds([*kubectl(paths), "wait", f"--for={condition}", target, "--timeout=5s"], timeout=stretched(60)):
        _refuse_hopeless(paths, deadline, culprit)


def _refuse_hopeless(paths: ClusterPaths, deadline: float, culprit: str) -> None:
    if find(paths) is None:
        raise failure(paths, "the supervisor has ended", "supervisor")
    broken = next((state for state in processes(paths) if state.starts >= TOO_MANY_STARTS), None)
    if broken is not None:
        raise failure(
            paths, f"{broken.name} was started {broken.starts} times, last status {broken.last_status}", broken.name
        )
    if time.monotonic() > deadline:
        raise failure(paths, f"not ready after {stretched(READY_SECONDS):.0f} s: waiting for {culprit}", culprit)


def failure(paths: ClusterPaths, what: str, culprit: str) -> StartError:
    """Make an error that shows the end of the culprit's log."""
    log = paths.logs / f"{culprit}.log"
    return StartError(f"the cluster did not start: {what}", hint=f"Last lines of {log}:\n{last_lines(log)}")


def last_lines(log: Path) -> str:
    """Read the end of a log that may not exist."""
    try:
        return tail(log.read_text(errors="replace"))
    except FileNotFoundError:
        return "(there is none)"


def ready(found: Sequence[Check]) -> bool:
    """Say whether every check is good."""
    return all(check.good for check in found)


def namespaces(paths: ClusterPaths) -> Keeper:
    """Find the running cluster's namespaces, or say that it is not up."""
    keeper = find(paths)
    if keeper is None:
        raise DevclusterError(f"cluster {paths.root.name!r} is not up", hint="Start it: corefit-devcluster up")
    return keeper
