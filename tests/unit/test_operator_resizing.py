"""Resizes asked for, granted, deferred, refused: what is written to the cluster, and what is said of it."""

from typing import Any

import pytest

from corefit_core.naming import CONTAINER
from corefit_core.recommender import Decision
from corefit_core.report import ModelIdentity, PlanInForce, Report
from corefit_core.spec.decode import decode
from corefit_core.spec.serving_spec import ServingSpec
from corefit_operator.cache.view import Key, View
from corefit_operator.kube.api_error import ApiError
from corefit_operator.kube.metadata import Meta
from corefit_operator.kube.pods import Pod, decode_pod
from corefit_operator.resize import sizes
from corefit_operator.resize.node_headroom import Headroom
from corefit_operator.resize.resizer import BLOCKED_S, FAILED_S, GRACE_S, SILENT_S, UNSUPPORTED_S, Resizer, ResizeState
from corefit_operator.resize.sizes import Sized, SizingInput
from corefit_operator.status import events
from corefit_operator.telemetry.metrics import Metrics

KEY = Key("n", "a")


class World:
    """An API server and a kubelet in a few lines: pods by uid, what is asked, what is granted."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.pods: dict[str, dict[str, int]] = {}
        self.pending: dict[str, str] = {}
        self.writes: list[tuple[str, int]] = []
        self.errors: dict[str, ApiError] = {}
        self.has_resize = True
        self.discoveries = 0
        self.grants = True
        self.view, self.metrics, self.memory = View(), Metrics(), ResizeState()
        headroom = Headroom(self, lambda: self.now)  # type: ignore[arg-type]
        self.resizer = Resizer(self, self.view, headroom, self.metrics, lambda: self.now)  # type: ignore[arg-type]

    async def resizable(self) -> bool:
        self.discoveries += 1
        return self.has_resize

    async def get(self, *_: Any) -> dict[str, Any]:
        return {"status": {"allocatable": {"cpu": "4"}}}

    async def pods_on(self, node: str) -> list[dict[str, Any]]:
        cpus = [f"{pod['asked']}m" for pod in self.pods.values()]
        return [{"spec": {"nodeName": node, "containers": [{"resources": {"requests": {"cpu": c}}}]}} for c in cpus]

    async def resize(self, meta: Meta, containers: dict[str, Any]) -> dict[str, Any]:
        name, uid = meta.name, meta.uid
        assert meta.namespace == "n"
        if name in self.errors:
            raise self.errors[name]
        [container] = containers["containers"]
        millicores = int(container["resources"]["limits"]["cpu"].replace("m", "")) * (
            1 if container["resources"]["limits"]["cpu"].endswith("m") else 1000
        )
        self.writes.append((name, millicores))
        self.pods[uid]["asked"] = millicores
        if self.grants:
            self.pods[uid]["granted"] = millicores
        return self.raw(uid)

    def raw(self, uid: str) -> dict[str, Any]:
        pod = self.pods[uid]
        conditions = [{"type": "Ready", "status": "True"}]
        if uid in self.pending:
            conditions.append({"type": "PodResizePending", "status": "True", "reason": self.pending[uid]})
        limits = {"limits": {"cpu": f"{pod['asked']}m"}}
        status = {"name": CONTAINER, "resources": {"limits": {"cpu": f"{pod['granted']}m"}}}
        return {
            "metadata": {"name": uid, "uid": uid, "namespace": "n"},
            "spec": {"nodeName": "node", "containers": [{"name": CONTAINER, "resources": limits}]},
            "status": {"conditions": conditions, "containerStatuses": [status]},
        }

    def live(self) -> tuple[Pod, ...]:
        return tuple(decode_pod(self.raw(uid)) for uid in sorted(self.pods))

    async def round(self, grants: dict[str, int], **spec: Any) -> Sized:
        decision = Decision(replicas=1, millicores=500, grants=grants, uncapped=1, reason="LoadUp", message="busy")
        scene = SizingInput(spec=_service(**spec), pods=self.live(), decision=decision, start=250)
        return await self.resizer.resize(KEY, scene, self.memory)

    def counted(self, outcome: str) -> float:
        labels = {"namespace": "n", "name": "a", "outcome": outcome}
        return self.metrics.registry.get_sample_value("corefit_resizes_total", labels) or 0.0


def _service(**spec: Any) -> ServingSpec:
    whole = {"model": {"uri": "http://m/a.onnx"}, "resources": {"cpu": "250m", "maxCPU": "2"}, **spec}
    return decode({"metadata": {"name": "a", "namespace": "n", "uid": "u"}, "spec": whole})


def _report(millicores: int) -> Report:
    plan = PlanInForce(grant_millicores=millicores, workers=1, threads_per_worker=1, queue_depth=1)
    return Report(boot_id="b", state="Ready", model=ModelIdentity(name="m"), plan=plan, clock_s=1.0)


@pytest.fixture
def world() -> World:
    made = World()
    made.pods = {"a": {"asked": 250, "granted": 250}, "b": {"asked": 1000, "granted": 1000}}
    return made


async def test_what_was_decided_is_asked_for_once_and_counted_when_the_process_has_it(world: World) -> None:
    found = await world.round({"a": 500, "b": 1000})
    assert world.writes == [("a", 500)]
    assert (found.waiting, found.problem) == (1, None)
    assert (await world.round({"a": 500, "b": 1000})).steps == ()
    world.now += 0.25
    world.resizer.arrived(KEY, {"a": _report(500), "b": _report(1000)}, world.memory)
    assert (world.counted("wanted"), world.counted("granted")) == (1, 1)
    labels = {"namespace": "n", "name": "a"}
    assert world.metrics.registry.get_sample_value("corefit_resize_seconds_sum", labels) == pytest.approx(0.25)
    assert world.memory.pending == {}


async def test_what_gives_back_is_asked_first(world: World) -> None:
    await world.round({"a": 2000, "b": 250})
    assert world.writes == [("b", 250), ("a", 2000)]


async def test_a_deferred_resize_is_taken_back_and_its_node_left_alone_for_a_while(world: World) -> None:
    world.grants, world.pending = False, {"a": "Deferred"}
    await world.round({"a": 2000, "b": 1000})
    assert (await world.round({"a": 2000, "b": 1000})).steps == ()  # another pod may be giving back just now
    world.now += GRACE_S
    found = await world.round({"a": 2000, "b": 1000})
    assert world.writes[-1] == ("a", 250)
    assert found.problem is not None
    assert found.problem.reason == "ResizeDeferred"
    assert world.counted("deferred") == 1
    world.pending = {}
    assert await world.resizer.room(_service(), world.live(), world.memory) == {}
    assert (await world.round({"a": 2000, "b": 1000})).steps == ()
    assert len((await world.round({"a": 250, "b": 500})).steps) == 1  # what shrinks needs no room
    world.now += BLOCKED_S + 1
    assert await world.resizer.room(_service(), world.live(), world.memory) == {"node": 4000 - 250 - 500}
    assert (await world.round({"a": 2000, "b": 500})).steps[0].millicores == 2000


async def test_an_infeasible_resize_is_taken_back_at_once(world: World) -> None:
    world.grants, world.pending = False, {"a": "Infeasible"}
    await world.round({"a": 2000})
    found = await world.round({"a": 2000})
    assert world.writes[-1] == ("a", 250)
    assert found.problem is not None
    assert found.problem.reason == "ResizeInfeasible"
    assert world.counted("infeasible") == 1


async def test_an_operator_that_was_killed_in_the_midst_finds_the_rest(world: World) -> None:
    world.pods = {"a": {"asked": 2000, "granted": 250}, "b": {"asked": 1000, "granted": 1000}}
    world.pending = {"a": "Deferred"}
    found = await world.round({"a": 2000, "b": 500})
    assert sorted(world.writes) == [("a", 250), ("b", 500)]
    assert found.problem is not None
    assert found.problem.reason == "ResizeDeferred"


async def test_a_kubelet_that_says_nothing_does_not_resize(world: World) -> None:
    world.grants = False
    await world.round({"a": 2000})
    world.now += SILENT_S + 1
    found = await world.round({"a": 2000})
    assert found.problem is not None
    assert found.problem.reason == "ResizeIgnored"
    assert world.writes[-1] == ("a", 250)


async def test_a_kubelet_that_was_slow_once_is_asked_again_soon_and_one_that_never_resizes_seldom(world: World) -> None:
    """On a starved machine a kubelet took longer than 10 s once: its pod kept a fifth of the CPU for ten minutes."""

    async def waited_s() -> float:
        """Seconds until the pod's growth is requested."""
        begun = world.now
        while not (await world.round({"a": 2000})).steps:
            world.now += 1
            await world.resizer.room(_service(), world.live(), world.memory)
            assert world.now - begun <= 2 * UNSUPPORTED_S
        return world.now - begun

    world.grants, waits = False, []
    for _ in range(9):
        waits.append(await waited_s())
        world.now += SILENT_S + 1
        await world.round({"a": 2000})
    assert waits == pytest.approx([0, 10, 20, 40, 80, 160, 320, UNSUPPORTED_S, UNSUPPORTED_S], abs=1)
    world.grants = True
    await waited_s()
    await world.round({"a": 2000})
    await world.round({"a": 250})
    world.grants = False
    await waited_s()
    world.now += SILENT_S + 1
    await world.round({"a": 2000})
    assert await waited_s() == pytest.approx(SILENT_S, abs=1), "it has resized meanwhile"


async def test_a_pod_that_was_replaced_is_nobodys_trouble(world: World) -> None:
    for status in (404, 409):
        world.errors["a"] = ApiError('pods "a" not found', status=status)
        found = await world.round({"a": 500, "b": 500})
        assert found.problem is None
    assert ("b", 500) in world.writes
    world.pods.pop("a")
    await world.round({"b": 500})
    assert set(world.memory.pending) == {"b"}


async def test_a_cluster_without_the_subresource_is_noticed_once(world: World) -> None:
    world.has_resize = False
    assert not await world.resizer.is_supported()
    assert not await world.resizer.is_supported()
    found = await world.round({"a": 2000})
    assert (world.writes, world.discoveries) == ([], 1)
    assert found.problem is not None
    assert found.problem.reason == "ResizeNotSupported"
    world.has_resize = True
    world.now += UNSUPPORTED_S + 1
    assert await world.resizer.is_supported()
    assert (await world.round({"a": 2000})).problem is None


@pytest.mark.parametrize(
    ("status", "message", "reason"),
    [
        (404, "the server could not find the requested resource", "ResizeNotSupported"),
        (405, "the server does not allow this method on the requested resource", "ResizeNotSupported"),
        (403, 'cannot patch resource "pods/resize" in API group ""', "ResizeNotAllowed"),
        (403, "pods is forbidden: exceeded quota: compute, requested: limits.cpu=1", "QuotaExceeded"),
        (403, "maximum cpu usage per Container is 1, but limit is 2", "ResizeRefused"),
        (403, "node didn't have enough allocatable resources: cpu, requested: 64000", "ResizeInfeasible"),
        (422, "Pod QOS Class may not change as a result of resizing", "ResizeRefused"),
    ],
)
async def test_what_the_api_server_refuses_is_said_and_left_to_replicas(
    world: World, status: int, message: str, reason: str
) -> None:
    world.errors["a"] = ApiError(message, status=status)
    found = await world.round({"a": 2000, "b": 500})
    assert ("b", 500) in world.writes
    assert found.problem is not None
    assert found.problem.reason == reason
    assert (
        await world.resizer.room(_service(), world.live(), world.memory) == {}
    ) or not await world.resizer.is_supported()
    assert (await world.round({"a": 2000, "b": 500})).steps == ()


async def test_a_namespace_without_the_right_costs_only_itself_its_resizes(world: World) -> None:
    """Whoever took the operator's Role out of one namespace ended resizes in all of them for ten minutes."""
    world.errors["a"] = ApiError('cannot patch resource "pods/resize" in API group ""', status=403)
    assert (await world.round({"a": 2000})).problem is not None
    assert await world.resizer.is_supported()
    world.errors, world.memory = {}, ResizeState()
    assert (await world.round({"a": 2000})).problem is None


async def test_an_api_server_that_is_away_is_tried_again_and_holds_nothing_up(world: World) -> None:
    world.errors["a"] = ApiError("down", status=0)
    found = await world.round({"a": 500, "b": 500})
    assert found.problem is not None
    assert found.problem.reason == "ResizeFailed"
    assert world.writes == [("b", 500)]
    world.errors = {}
    world.now += FAILED_S
    await world.resizer.room(_service(), world.live(), world.memory)
    await world.round({"a": 500, "b": 500})
    assert world.writes == [("b", 500), ("a", 500)]


async def test_room_is_not_counted_on_while_nodes_cannot_be_asked(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object) -> None:
        raise ApiError("down", status=503)

    monkeypatch.setattr(world, "get", away)
    assert await world.resizer.room(_service(), world.live(), world.memory) == {}


async def test_a_recommendation_withdraws_nothing_that_a_person_asked_for(world: World) -> None:
    world.pods["a"] = {"asked": 2000, "granted": 250}
    world.pending = {"a": "Infeasible"}
    await world.round({"a": 500, "b": 500}, scaling={"mode": "Recommend"})
    assert world.writes == []


def test_one_event_says_all_of_a_round() -> None:
    pods = [decode_pod({"metadata": {"name": n, "uid": n}}) for n in "ab"]
    steps = [sizes.Step(pod=pod, before=250, millicores=m) for pod, m in zip(pods, (500, 1000), strict=True)]
    decision = Decision(replicas=1, uncapped=1, reason="LoadUp", message="busy")
    [said] = events.resizes(steps, decision)
    assert said.note == "CPU of 2 pods 250m -> 500m-1: LoadUp: busy"
    assert events.resizes([], decision) == []
