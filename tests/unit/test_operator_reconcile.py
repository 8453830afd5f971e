"""One reconcile against an API server that refuses or can't take one of its writes: the rest is done all the same."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Mapping
from typing import Any

import msgspec
import pytest

from corefit_core.histogram import Histogram, bucket
from corefit_core.naming import ANNOTATION_PAUSED, FIELD_MANAGER, LABEL_SERVICE
from corefit_core.report import LONG, Counters, ModelIdentity, PlanInForce, Report
from corefit_core.spec.decode import decode
from corefit_operator.cache.view import Key, View
from corefit_operator.children import apply
from corefit_operator.children.apply import REFUSED_S
from corefit_operator.children.defaults import Defaults
from corefit_operator.children.upgrades import Upgrades
from corefit_operator.collect.attention import Attention
from corefit_operator.kube.api_error import ApiError
from corefit_operator.kube.metadata import Meta
from corefit_operator.kube.pods import Pod, decode_pod
from corefit_operator.kube.workloads import decode_child
from corefit_operator.reconcile import schedule
from corefit_operator.reconcile.reconciler import Reconciler
from corefit_operator.resize.node_headroom import Headroom
from corefit_operator.resize.resizer import Resizer
from corefit_operator.telemetry.metrics import Metrics
from corefit_operator.telemetry.recorder import Recorder
from corefit_operator.workload.sidecars import Sidecars

KEY = Key("n", "a")
ROUND_S = 2.0
HOOK = ApiError("Internal error occurred: failed calling webhook", status=500)
DENIED = ApiError("ValidatingAdmissionPolicy 'five-at-most' denied request", status=422)


class World:
    """An API server in a few lines, which fails what it is told to, and an operator on it."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.fails: dict[str, ApiError] = {}
        self.calls: list[str] = []
        self.status: dict[str, Any] = {}
        self.held: set[str] = set()
        self.says: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.looks: list[float] = []
        self.recorded: list[tuple[str, str]] = []
        self._versions = itertools.count(10)
        self.raw: dict[str, Any] = {
            "metadata": {"name": "a", "namespace": "n", "uid": "u", "generation": 1, "resourceVersion": "5"},
            "spec": {"model": {"uri": "http://x/y"}, "scaling": {"minReplicas": 3}},
        }
        view, metrics, cluster, defaults = View(), Metrics(), self, Defaults(image="i")
        headroom = Headroom(cluster, self.clock)  # type: ignore[arg-type]
        view.put_service(self.raw)
        self.view, self.upgrades = view, Upgrades(5)
        self.reconciler = Reconciler(
            cluster=cluster,  # type: ignore[arg-type]
            view=view,
            collector=self,  # type: ignore[arg-type]
            recorder=Recorder(cluster, "o", self.clock),  # type: ignore[arg-type]
            resizer=Resizer(cluster, view, headroom, metrics, self.clock),  # type: ignore[arg-type]
            headroom=headroom,
            sidecars=Sidecars(cluster, view, defaults, "", self.clock),  # type: ignore[arg-type]
            metrics=metrics,
            defaults=defaults,
            clock=self.clock,
            round_s=ROUND_S,
            upgrades=self.upgrades,
            attention=Attention(self.attention, self._look, lambda _: None, self.clock),
        )

    def clock(self) -> float:
        return self.now

    def asks(self, **spec: Any) -> None:
        self.raw["spec"] |= spec
        self.raw["metadata"]["generation"] += 1
        self.raw["metadata"]["resourceVersion"] = self._version()
        self.view.put_service(self.raw)

    async def reconcile(self) -> float | None:
        self.calls.clear()
        return await self.reconciler.reconcile(KEY)

    async def rounds(self, count: int) -> AsyncIterator[list[str]]:
        """The calls of each of so many rounds, while it is still the time of that one."""
        for _ in range(count):
            await self.reconcile()
            yield self.calls
            self.now += ROUND_S

    async def attention(self, pod: Pod) -> bytes:
        """Held until somebody has to say something."""
        assert "maxCPU" in self.raw["spec"].get("resources", ()), "nobody is to be watched here"
        self.held.add(pod.metadata.name)
        try:
            return await self.says
        finally:
            self.held.discard(pod.metadata.name)

    def _look(self, _: Key, seconds: float) -> None:
        self.looks.append(seconds)

    async def injects(self) -> bool:
        return True

    async def resizable(self) -> bool:
        return True

    async def collect(self, _: object) -> dict[str, Report]:
        return {}

    async def get(self, kind: str, *_: object) -> dict[str, Any] | None:
        return self.raw if kind == "InferenceService" else None

    async def apply(self, manifest: Mapping[str, Any], _: str = "", **__: object) -> dict[str, Any]:
        kind = manifest["kind"]
        self._called(kind)
        entry = {"manager": FIELD_MANAGER, "operation": "Apply", "fieldsV1": {"f:spec": {}}}
        meta = {"uid": kind, "generation": 1, "resourceVersion": self._version(), "managedFields": [entry]}
        done = {"replicas": 1, "updatedReplicas": 1, "availableReplicas": 1, "observedGeneration": 1}
        spec = {**manifest.get("spec", {}), **({"replicas": 1} if kind == "Deployment" else {})}
        return {**manifest, "metadata": {**manifest["metadata"], **meta}, "spec": spec, "status": done}

    async def scale(self, *_: object, replicas: int, **__: object) -> str:
        self._called(f"scale to {replicas}")
        return self._version()

    async def apply_status(self, raw: Mapping[str, Any], status: dict[str, Any]) -> str:
        self._called("status")
        self.status = status
        self.raw = {**raw, "metadata": {**raw["metadata"], "resourceVersion": self._version()}, "status": status}
        return str(self.raw["metadata"]["resourceVersion"])

    async def create(self, _: str, body: Mapping[str, Any]) -> dict[str, Any]:
        self.recorded.append((body["reason"], body["note"]))
        return dict(body)

    def events(self, reason: str) -> list[str]:
        return [note for each, note in self.recorded if each == reason]

    def condition(self, kind: str) -> tuple[str, str]:
        return next((c["status"], c["reason"]) for c in self.status["conditions"] if c["type"] == kind)

    def _called(self, what: str) -> None:
        self.calls.append(what)
        if what in self.fails:
            raise self.fails[what]

    def _version(self) -> str:
        return str(next(self._versions))


async def test_a_child_that_cannot_be_written_now_holds_up_neither_scaling_nor_status() -> None:
    world = World()
    world.fails = {"scale to 3": DENIED}
    await world.reconcile()
    world.now += REFUSED_S
    world.fails = {child: HOOK for child in world.calls if child not in ("scale to 3", "status")}
    world.asks(template={"labels": {"team": "a"}})
    again_s = await world.reconcile()
    assert world.calls[1:] == ["scale to 3", "status"]
    assert world.calls[0] in world.fails
    assert again_s is not None
    assert again_s <= ROUND_S


async def test_a_child_that_cannot_be_written_is_tried_again_less_and_less_often_and_at_once_when_it_is_another() -> (
    None
):
    world = World()
    world.fails = {"NetworkPolicy": HOOK}
    tries = [calls async for calls in world.rounds(60) if "NetworkPolicy" in calls]
    assert 4 <= len(tries) <= 12
    del world.fails["NetworkPolicy"]
    world.asks(objective={"latencyMilliseconds": 300})
    await world.reconcile()
    assert "NetworkPolicy" in world.calls


async def test_a_child_that_is_refused_is_told_of_and_not_asked_for_in_every_round() -> None:
    """A policy that refuses what many resources want would have been asked by all of them, every two seconds."""
    world = World()
    world.fails = {"Deployment": DENIED}
    tries = 0
    async for calls in world.rounds(30):
        tries += "Deployment" in calls
        assert world.condition("Progressing") == ("False", "ChildRefused")
    assert tries <= 30 * ROUND_S / REFUSED_S + 1
    world.now += REFUSED_S
    world.fails = {}
    await world.reconcile()
    assert world.condition("Progressing")[1] != "ChildRefused"


async def test_a_view_that_is_behind_ends_the_reconcile() -> None:
    world = World()
    world.fails = {"Deployment": ApiError("the object has been modified", status=409)}
    with pytest.raises(ApiError):
        await world.reconcile()
    assert "status" not in world.calls


async def test_replicas_that_are_refused_are_told_of_and_tried_again_later() -> None:
    world = World()
    world.fails = {"scale to 3": DENIED}
    assert await world.reconcile() == ROUND_S
    assert world.condition("Progressing") == ("False", "ScaleRefused")
    await world.reconcile()
    assert "scale to 3" not in world.calls
    world.now += REFUSED_S
    world.fails = {}
    await world.reconcile()
    assert "scale to 3" in world.calls
    world.now += REFUSED_S
    await world.reconcile()
    assert world.condition("Progressing")[1] != "ScaleRefused"


def owned(name: str, owner: str = "a-6b7f", kind: str = "ReplicaSet", *, managed: bool = True) -> dict[str, Any]:
    """The metadata of a pod that bears the label of the resource `a`."""
    owners = [{"kind": kind, "name": owner, "uid": "o", "controller": managed}] if owner else []
    return {"name": name, "uid": name, "namespace": "n", "labels": {LABEL_SERVICE: "a"}, "ownerReferences": owners}


async def test_pods_that_the_deployment_did_not_make_are_not_counted() -> None:
    """Bare ones that bear the label, and those that a deleted namesake of mode Sidecar left: their reports may lie."""
    world = World()
    others = (
        owned("bare", owner=""),
        owned("job", kind="Job"),
        owned("web", owner="a-b-6b7f"),
        owned("other", owner="6b7f"),
        owned("held", managed=False),
    )
    for meta in (owned("own"), *others):
        world.view.put_pod(decode_pod({"metadata": meta}))
    await world.reconcile()
    assert world.status["replicas"] == 1


def growing() -> World:
    """A resource of which a pod may be grown, and whose question is held."""
    world = World()
    world.asks(resources={"cpu": "250m", "maxCPU": "2"})
    meta = owned("p")
    ready = {"podIP": "10.0.0.1", "phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    world.view.put_pod(decode_pod({"metadata": meta, "status": ready}))
    return world


async def settled() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.mark.parametrize(
    "change",
    [
        {"resources": {"cpu": "250m"}},
        {"scaling": {"minReplicas": 3, "mode": "Recommend"}},
        {"resources": {"cpu": "many"}},
        {"paused": True},
    ],
)
async def test_pods_of_a_resource_that_is_not_scaled_any_more_are_not_asked(change: dict[str, Any]) -> None:
    world = growing()
    await world.reconcile()
    await settled()
    assert world.held == {"p"}
    if change.pop("paused", False):
        world.raw["metadata"]["annotations"] = {ANNOTATION_PAUSED: "true"}
    world.asks(**change)
    await world.reconcile()
    await settled()
    assert not world.held


async def test_a_reconcile_that_failed_is_not_hurried_by_pods() -> None:
    """The API server asked to wait, and was asked twice a second by each resource with a long queue."""
    world = growing()
    await world.reconcile()
    await settled()
    world.now += 1.0
    world.fails = {"status": ApiError("slower", status=429, retry_after_s=30.0)}
    world.asks(objective={"latencyMilliseconds": 300})
    with pytest.raises(ApiError):
        await world.reconcile()
    world.says.set_result(LONG)
    await settled()
    assert world.looks == []


class Busy(World):
    """One pod of a quarter of a core with more to do than it can, on a node with room."""

    def __init__(self) -> None:
        super().__init__()
        self.resized: list[str] = []
        self.asks(resources={"cpu": "250m", "maxCPU": "2"}, scaling={"mode": "Recommend"})
        self.view.put_pod(decode_pod(self.pod("250m")))

    def pod(self, cpu: str) -> dict[str, Any]:
        meta = owned("p")
        limits = {"requests": {"cpu": cpu}, "limits": {"cpu": cpu}}
        ready = {"podIP": "10.0.0.1", "phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
        spec = {"nodeName": "node", "containers": [{"name": "runtime", "resources": limits}]}
        return {"metadata": meta, "spec": spec, "status": ready}

    async def collect(self, _: object) -> dict[str, Report]:
        """Busy for all of its quarter of a core, and as many refused as answered."""
        done = int(5 * (self.now - 1000.0)) + 1
        times = Histogram(counts=(*[0] * bucket(0.05), done), sum_s=0.05 * done, sum_sq_s2=0.05**2 * done)
        counters = Counters(
            arrivals=2 * done,
            admitted=done,
            completed=done,
            rejected={"queue_full": done},
            busy_worker_seconds=0.25 * (self.now - 1000.0),
            cpu_seconds=0.25 * (self.now - 1000.0),
        )
        plan = PlanInForce(grant_millicores=250, workers=1, threads_per_worker=1, queue_depth=4)
        model = ModelIdentity(name="a")
        report = Report(
            boot_id="b",
            state="Ready",
            model=model,
            plan=plan,
            clock_s=self.now,
            counters=counters,
            service_time=times,
            total=times,
        )
        return {"p": report}

    async def get(self, kind: str, *_: object) -> dict[str, Any] | None:
        return {"status": {"allocatable": {"cpu": "4"}}} if kind == "Node" else await super().get(kind)

    async def pods_on(self, _: str) -> list[dict[str, Any]]:
        return [self.pod("250m")]

    async def resize(self, _: Meta, body: Mapping[str, Any]) -> dict[str, Any]:
        self.resized.append(body["containers"][0]["resources"]["limits"]["cpu"])
        return self.pod(self.resized[-1])


async def test_pods_are_grown_at_once_when_mode_recommend_ends() -> None:
    """An Event said 1000m of CPU a pod, there was room, and no resize followed for up to a minute.

    What was recommended for ten seconds counted as asked for and not granted.
    """
    world = Busy()
    async for _ in world.rounds(20):
        assert world.resized == []
    assert world.status["recommendedReplicas"] >= 1
    world.asks(scaling={"mode": "Auto", "maxReplicas": 1})
    async for _ in world.rounds(3):
        pass
    assert world.resized


def _message(world: World, kind: str) -> str:
    (message,) = (c["message"] for c in world.status["conditions"] if c["type"] == kind)
    return str(message)


async def test_replicas_that_the_mode_ignores_are_told_of_once() -> None:
    world = World()
    world.asks(scaling={"mode": "Auto", "replicas": 5})
    async for _ in world.rounds(3):
        pass
    [note] = world.events("ReplicasIgnored")
    assert note.startswith("spec.scaling.replicas is 5 and has no effect in mode Auto.")
    assert _message(world, "ScalingActive").endswith(f". {note}"), "status says it as long as it is so"
    world.asks(scaling={"mode": "Manual", "replicas": 5})
    await world.reconcile()
    assert len(world.events("ReplicasIgnored")) == 1
    assert note not in _message(world, "ScalingActive")


@pytest.mark.parametrize(
    ("kind", "name", "words", "never"),
    [
        ("ServiceAccount", "default", "Kubernetes itself makes the ServiceAccount default", "delete it instead"),
        ("Service", "kubernetes", "Kubernetes itself makes the Service kubernetes", "delete it instead"),
        ("Service", "web", "Create this InferenceService under another name.", "Kubernetes itself"),
    ],
)
async def test_a_name_that_kubernetes_needs_is_never_to_be_freed(kind: str, name: str, words: str, never: str) -> None:
    """A resource named default was advised to have the namespace's ServiceAccount deleted."""
    manifest = {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": "n", "annotations": {}}}
    taken = decode_child(kind, {"metadata": {"name": name, "namespace": "n", "uid": "x"}})
    view = View()
    meta = {"name": name, "namespace": "n", "uid": "u"}
    service = decode({"metadata": meta, "spec": {"model": {"uri": "http://x/y"}}})

    class Api:
        async def get(self, *_: str) -> dict[str, Any]:
            return {"metadata": msgspec.to_builtins(taken.metadata)}

    async def confirm() -> None:
        pytest.fail("nothing is written")

    outcome = await apply.settle(
        Api(),  # type: ignore[arg-type]
        view,
        service,
        [manifest],
        memory=apply.ApplyState(),
        confirm=confirm,
        now=0.0,
    )
    assert outcome.refused is not None
    assert outcome.refused.reason == "NameTaken"
    assert words in outcome.refused.message
    assert never not in outcome.refused.message


async def test_a_resource_that_breaks_the_platforms_policy_gets_no_children_and_a_condition_that_says_why() -> None:
    world = World()
    world.asks(image="evil.example/x:1")
    await world.reconcile()
    assert world.calls == ["status"]
    assert world.condition("Ready") == ("False", "PolicyViolation")
    message = next(c["message"] for c in world.status["conditions"] if c["type"] == "Ready")
    assert "spec.image" in message
    assert "policy.imagePrefixes" in message


async def test_pods_of_before_serve_on_and_are_not_rolled_when_an_edit_breaks_the_policy() -> None:
    world = World()
    await world.reconcile()
    assert "Deployment" in world.calls
    world.asks(image="evil.example/x:1")
    await world.reconcile()
    assert not {"Deployment", "Service"} & set(world.calls)
    assert world.condition("Progressing") == ("False", "PolicyViolation")
    world.asks(image="i")
    await world.reconcile()
    assert "Deployment" in world.calls


async def test_a_sidecar_that_breaks_the_policy_is_offered_to_no_pod() -> None:
    world = World()
    world.asks(mode="Sidecar", scaling={})
    await world.reconcile()
    assert "sidecar" in world.status
    world.asks(template={"volumes": [{"name": "v", "hostPath": {"path": "/"}}]})
    await world.reconcile()
    assert "sidecar" not in world.status
    assert world.condition("Injectable") == ("False", "PolicyViolation")


async def test_a_resource_of_mode_sidecar_with_nothing_to_look_at_is_looked_at_seldom() -> None:
    """Three hundred of them that named no workload took the time of others' changes."""
    world = World()
    world.asks(mode="Sidecar", scaling={})
    assert await world.reconcile() == schedule.IDLE_S


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"resources": {"cpu": "many"}}, "InvalidSpec"),
        ({"application": {"containers": [{"name": "a", "image": "i"}]}}, "PolicyViolation"),
    ],
)
async def test_a_resource_that_may_not_be_rolled_as_it_is_holds_up_no_upgrades(
    change: dict[str, Any], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It kept its turn for as long as nobody corrected it."""
    world = World()
    forgotten: list[Key] = []
    monkeypatch.setattr(world.upgrades, "forget", forgotten.append)
    await world.reconcile()
    assert forgotten == []
    world.asks(**change)
    await world.reconcile()
    assert said in {condition["reason"] for condition in world.status["conditions"]}
    assert forgotten == [KEY]


async def test_an_operator_that_has_just_started_leaves_a_queue_that_was_worth_its_balancer() -> None:
    """It knows nothing of the load yet: the status says what was found before."""
    world = World()
    routing = {"recommended": "Queue", "saves": "500m", "takes": "50m", "reason": "Saves", "message": "m"}
    world.raw["status"] = {"routing": routing}
    world.asks(routing={"balancing": "Auto"})
    await world.reconcile()
    assert world.condition("BalancerReady") == ("False", "NoImage"), "it is wanted, and can't be"
    assert (world.status["balancing"], world.status["routing"]["saves"]) == ("Direct", "500m")


async def test_a_resource_that_was_made_anew_begins_without_a_queue() -> None:
    world = World()
    world.asks(routing={"balancing": "Auto"})
    await world.reconcile()
    assert "BalancerReady" not in [c["type"] for c in world.status["conditions"]]
    assert (world.status["balancing"], world.status["routing"]["recommended"]) == ("Direct", "Direct")
