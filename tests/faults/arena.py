"""Where operators are ill-treated: one real control plane, and lanes in it, namespaces with an operator each.

A lane's operator reaches the API server through a proxy that is the lane's too. Many lanes run at the same time, since
most of a run is waiting for nothing to happen.
"""

import subprocess
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from datetime import datetime
from pathlib import Path
from typing import Any, Self

import yaml
from faults import others, state
from faults.api import APPLY, JSON, MERGE, Api, Refused
from faults.audit import Audit
from faults.nodes import Nodes
from faults.operators import RUNTIME, Nursery, Operator
from faults.proxy import Proxy
from faults.wire import Wire

from corefit_core.naming import GROUP, KIND, PLURAL, VERSION
from corefit_devcluster.control_plane import PROGRAMS, ControlPlane
from corefit_operator.reconcile.publish import FIGURES_S

ROOT = Path(__file__).parents[2]
CONTROLLERS = ("deployment-controller", "replicaset-controller", "garbage-collector-controller")
CONTROLLERS += ("namespace-controller", "serviceaccount-controller", "disruption-controller")
NAME = "digits"
HTTP_ROUTES = "apis/gateway.networking.k8s.io/v1/httproutes"
WATCHES = 7
"""Of an operator: resources, pods, five kinds of children."""
DEADLINE_S = 1800.0
LOOK_AGAIN_S, SILENT_AGAIN_S = 0.2, 1.0
"""Seconds between two looks: for what is about to happen, and for what is not to."""
LANES = 160
"""At the same time: each takes some MB and, most of the time, next to no CPU."""
ACTIVE = 30
"""Of them those that do something: more would only wait for each other on two cores."""


class Arena:
    """The control plane, the nodes, and what lanes share."""

    def __init__(self, folder: Path, nursery: Nursery) -> None:
        self.folder = folder
        self.nursery = nursery
        self.active = threading.Semaphore(ACTIVE)
        self._room = threading.Semaphore(LANES)
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        programs = {name: program(name) for name in PROGRAMS}
        with ExitStack() as stack:
            self.plane = stack.enter_context(ControlPlane(self.folder, programs, CONTROLLERS))
            self.api = Api(self.plane.user("tester"))
            stack.callback(self.api.close)
            self.audit = Audit(self.plane.audit)
            self._install()
            self.wire = stack.enter_context(Wire(self.plane.user("operator")))
            self.nodes = stack.enter_context(Nodes(self.wire, self.plane.address))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @contextmanager
    def lane(self, label: str, *options: str, leads: bool = False, at_once: bool = False) -> Iterator["Lane"]:
        """A lane with an operator that runs and watches.

        Args:
            label: begins the namespace's name.
            options: of the operator.
            leads: by a Lease, as in production; else it is alone by its word.
            at_once: without waiting for others, for what is one long chain and would end last.
        """
        namespace = f"{label}-{uuid.uuid4().hex[:6]}"
        arguments = ["run", *RUNTIME, "--namespace", namespace, "--reports-via", "pod", *options]
        arguments += ["--metrics-host", "127.0.0.1", "--metrics-port", "0"]
        arguments += ["--lease", f"{namespace}/corefit"] if leads else []
        free = nullcontext()
        with free if at_once else self._room, ExitStack() as stack:
            with free if at_once else self.active:
                self.api("POST", "api/v1/namespaces", {"metadata": {"name": namespace}})
                proxy = stack.enter_context(Proxy(self.wire))
                arguments += ["--kubeconfig", proxy.kubeconfig(self.folder)]
                log = self.folder / f"{namespace}.log"
                operator = stack.enter_context(Operator(self.nursery, arguments, log))
                lane = Lane(self, namespace, proxy, operator, leads=leads)
                until("the operator watches", lane.up, seen=lane.seen)
            yield lane

    def _install(self) -> None:
        for file in (next((ROOT / "crds").glob("*.yaml")), Path(__file__).parent / "httproutes.yaml"):
            crd = yaml.safe_load(file.read_text())
            self.api("POST", "apis/apiextensions.k8s.io/v1/customresourcedefinitions", crd)

        def served() -> bool:
            try:
                return all(self.api.get(each) for each in (f"apis/{GROUP}/{VERSION}/{PLURAL}", HTTP_ROUTES))
            except Refused:
                return False

        until("the CRDs are served", served)
        others.install(self.api, program("helm"))
        until("its sidecars are offered", lambda: others.in_force(self.api))


LASTING = {"downStabilizationSeconds": 3600}
"""In `scaling`: a window that outlasts the test, or what is recommended would depend on how long that has taken."""


class Lane:
    """One namespace, one operator, the proxy between it and the API server."""

    def __init__(self, arena: Arena, namespace: str, proxy: Proxy, operator: Operator, *, leads: bool) -> None:
        self.arena = arena
        self.namespace = namespace
        self.proxy = proxy
        self.operator = operator
        self._leads = leads

    @property
    def path(self) -> str:
        """Of the resource."""
        return f"apis/{GROUP}/{VERSION}/namespaces/{self.namespace}/{PLURAL}/{NAME}"

    def put(self, **spec: Any) -> None:
        """Makes the resource ask for this and nothing else."""
        base = {
            "model": {"uri": "http://models/digits.onnx"},
            "resources": {"cpu": "200m", "memory": "256Mi"},
            "scaling": {"mode": "Manual", "replicas": 1},
        }
        body = {"apiVersion": f"{GROUP}/{VERSION}", "kind": KIND, "metadata": {"name": NAME}, "spec": {**base, **spec}}
        self.arena.api("PATCH", f"{self.path}?fieldManager=tester&force=true", body, APPLY)

    def delete(self) -> None:
        """Deletes the resource."""
        self.arena.api("DELETE", self.path, {"propagationPolicy": "Background"}, JSON)

    def child(self, method: str, resource: str, body: Any = None) -> None:
        """Does something to a child by hand."""
        group = {"services": "api/v1", "networkpolicies": "apis/networking.k8s.io/v1"}
        base = group.get(resource, "apis/policy/v1")
        self.arena.api(method, f"{base}/namespaces/{self.namespace}/{resource}/{NAME}", body, MERGE)

    def load(self, erlangs: float) -> None:
        """Has the pods together report so much load from now on."""
        self.arena.nodes.erlangs[self.namespace] = erlangs

    def loaded(self) -> bool:
        """Whether there is any."""
        return self.arena.nodes.erlangs.get(self.namespace, 0.0) > 0

    def sizes(self) -> list[str]:
        """The CPU limits of the pods that are not on their way out."""
        pods = self.arena.api.get(f"api/v1/namespaces/{self.namespace}/pods")["items"]
        live = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]
        return [pod["spec"]["containers"][0]["resources"]["limits"]["cpu"] for pod in live]

    def up(self) -> bool:
        """Whether the operator watches everything, and leads if it has to."""
        leads = not self._leads or self.proxy.led_at > self.operator.started[-1]
        return leads and self.proxy.watching() >= WATCHES

    def serves(self) -> bool:
        """Whether the resource says of its newest generation that all is as it asks for."""
        found = self.arena.api.find(self.path)
        return bool(found) and complete(found)

    def settled(self) -> None:
        """Waits until all is as the resource asks for, and the figures in its status have followed."""
        until("all is as it asks for", self.serves, seen=self.seen)
        self.silent(FIGURES_S + 2)

    def silent(self, seconds: float, deadline_s: float = DEADLINE_S) -> None:
        """Waits until the operator, being there and leading, has not written for so long.

        Only what it did is looked at, not what came of it.
        """
        since = time.monotonic()

        def holds() -> bool:
            nonlocal since
            last = self.proxy.writes[-1:]
            since = max(since, *(w.at for w in last)) if last else since
            since = since if self.up() else time.monotonic()
            return time.monotonic() - since >= seconds

        what = f"{self.namespace}: {seconds:.0f} s without a write"
        until(what, holds, deadline_s, self.seen, again_s=SILENT_AGAIN_S)

    def restart(self) -> None:
        """Kills the operator, and waits until the next one watches."""
        before = len(self.operator.started)
        self.operator.kill()
        until("it is started again", lambda: len(self.operator.started) > before)
        until("it watches", self.up, seen=self.seen)

    def revision(self) -> int:
        """How many times the Deployment's template was changed."""
        found = self.arena.api.get(f"apis/apps/v1/namespaces/{self.namespace}/deployments/{NAME}")
        return int(found["metadata"]["annotations"]["deployment.kubernetes.io/revision"])

    def rounds_until_resized(self) -> list[int]:
        """For each pod that was resized after the operator's last start: how often it was looked at before that.

        Without the looks that had no answer in time, after which the operator hangs up: they tell of the machine.
        """
        back = self.operator.started[-1]
        first: dict[str, float] = {}
        for at, name, _ in self._carried_out("pods", "resize"):
            if at > back:
                first.setdefault(name, at)
        looks = self.arena.nodes.looks
        found = []
        for name, at in first.items():
            answered = [connection for look, connection in looks[self.namespace, name] if back < look < at]
            found.append(answered.count(answered[-1]) if answered else 0)
        return found

    def scalings(self) -> list[tuple[float, int]]:
        """When the Deployment was scaled, by the wall clock, and to how many replicas."""
        return [(at, _replicas(asked)) for at, _, asked in self._carried_out("deployments", "scale")]

    def _carried_out(self, resource: str, part: str) -> list[tuple[float, str, Any]]:
        """Writes of a subresource: when, of what, and what was asked for where the account has that."""
        found = []
        for entry in self.arena.audit.of(self.namespace):
            what = entry["objectRef"]
            if (what["resource"], what.get("subresource")) == (resource, part):
                at = datetime.fromisoformat(entry["requestReceivedTimestamp"]).timestamp()
                found.append((at, what["name"], entry.get("requestObject")))
        return sorted(found, key=lambda each: each[0])

    def seen(self) -> str:
        """For whoever has to find out what went wrong."""
        writes = "\n".join(f"{w.at:.1f} {w.method} {w.path} {w.status}" for w in self.proxy.writes[-40:])
        return f"{writes}\n{self.operator.log.read_text()[-4000:]}"

    def state(self, *, history: bool = True) -> state.State:
        """What there is, with what it remembers of the way there or without."""
        return state.state(self.arena.api.get, self.namespace, history=history)

    def record(self) -> tuple[Counter[str], Counter[str]]:
        """What was created and what was deleted, by whomever."""
        created: Counter[str] = Counter()
        deleted = set()
        for entry in self.arena.audit.of(self.namespace):
            what = entry["objectRef"]
            kind, name = what["resource"], what.get("name", "")
            if "subresource" in what:
                continue
            if entry["responseStatus"]["code"] == 201:
                created[f"{kind}/{state.normal(kind, name)}"] += 1
            elif entry["verb"] == "delete":
                deleted.add((kind, name))
        return created, Counter(f"{kind}/{state.normal(kind, name)}" for kind, name in deleted)


def complete(resource: dict[str, Any]) -> bool:
    """Whether a resource says that all is as its newest generation asks for."""
    known = {c["type"]: c for c in resource.get("status", {}).get("conditions", ())}
    generation = resource["metadata"]["generation"]
    said = known.get("Progressing", {})
    return bool(said.get("observedGeneration") == generation and said.get("reason") == "Complete")


def until(
    what: str,
    holds: Callable[[], object],
    deadline_s: float = DEADLINE_S,
    seen: Callable[[], str] = lambda: "",
    *,
    again_s: float = LOOK_AGAIN_S,
) -> None:
    """Waits for a condition; no event tells of most of them."""
    deadline = time.monotonic() + deadline_s
    while not holds():
        assert time.monotonic() < deadline, f"not within {deadline_s:.0f} s: {what}\n{seen()}"
        time.sleep(again_s)


def _replicas(patch: list[dict[str, Any]]) -> int:
    return int(next(step["value"] for step in patch if step["op"] == "add" and step["path"] == "/spec/replicas"))


def program(name: str) -> Path:
    command = ["corefit-devcluster", "build", "--which", name]
    return Path(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip())
