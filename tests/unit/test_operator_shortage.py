"""What a pod that finds no node requests, and what nodes have free: said in the problem, and no meter."""

from typing import Any

from corefit_operator.cache.view import View
from corefit_operator.diagnosis import pod_problems
from corefit_operator.kube.api_error import ApiError
from corefit_operator.kube.pods import Pod, decode_pod
from corefit_operator.resize.node_headroom import FRESH_S, Amount, Headroom
from corefit_operator.workload.shortage import AGAIN_S, Shortage, Shortages, text

FULL = "0/2 nodes are available: 2 Insufficient cpu. preemption: none."
GIB = 2**30


def _pod(name: str, node: str = "", message: str = "", cpu: str = "1500m") -> Pod:
    conditions = [{"type": "PodScheduled", "status": "False", "message": message}] if message else []
    resources = {"requests": {"cpu": cpu, "memory": "512Mi"}}
    return decode_pod(
        {
            "metadata": {"name": name, "uid": name, "namespace": "n"},
            "spec": {"nodeName": node, "containers": [{"name": "runtime", "resources": resources}]},
            "status": {"conditions": conditions},
        }
    )


class World:
    """Two nodes with a pod of Corefit's each, and a pod for which neither has room."""

    def __init__(self) -> None:
        self.now, self.looks, self.taken = 1000.0, 0, "1"
        self.error: ApiError | None = None
        self.view = View()
        for name in ("a", "b"):
            self.view.put_pod(_pod(f"on-{name}", name))
        self.shortages = Shortages(Headroom(self, self.clock), self.view, self.clock)  # type: ignore[arg-type]
        self.seen: Shortage | None = None

    def clock(self) -> float:
        return self.now

    async def get(self, _: str, __: None, name: str) -> dict[str, Any]:
        self.looks += 1
        if self.error is not None:
            raise self.error
        return {"status": {"allocatable": {"cpu": {"a": "2", "b": "1"}[name], "memory": "4Gi"}}}

    async def pods_on(self, _: str) -> list[dict[str, Any]]:
        return [{"spec": {"containers": [{"resources": {"requests": {"cpu": self.taken, "memory": "1Gi"}}}]}}]

    async def said(self, *pods: Pod) -> str:
        self.seen = await self.shortages.look(pods, self.seen)
        found = pod_problems.problem(pods, {}, None, lacks="" if self.seen is None else self.seen.text)
        return found.message if found is not None else ""


async def test_a_pod_without_a_node_says_what_it_requests_and_what_is_free() -> None:
    """It said that no node has enough CPU, and not how much that is, nor how much there is."""
    said = await World().said(_pod("p", message=FULL))
    assert said == (
        "pod p requests 1500m of CPU and 512Mi of memory; node a, the nearest to that of 2 nodes with Corefit's pods, "
        f"has 1 of CPU and 3Gi of memory free: {FULL} Free CPU and memory on the nodes, add nodes, or lower "
        "spec.resources."
    )


async def test_the_figures_stay_for_a_minute_whatever_comes_and_goes() -> None:
    world, pod = World(), _pod("p", message=FULL)
    first = await world.said(pod)
    world.now, world.taken = world.now + FRESH_S + 1, "500m"
    assert await world.said(pod) == first
    world.now += AGAIN_S
    assert "has 1500m of CPU" in await world.said(pod)
    again = _pod("p", message=f"{FULL} again")
    world.now, world.taken = world.now + FRESH_S + 1, "1"
    assert "has 1 of CPU" in await world.said(again), "what the scheduler says anew is looked at anew"


async def test_nobody_looks_at_nodes_for_pods_that_have_one_or_lack_something_else() -> None:
    world = World()
    assert await world.said(_pod("p", "a")) == ""
    assert "taint" in await world.said(_pod("p", message="0/1 nodes are available: 1 had untolerated taint(s)."))
    assert world.looks == 0


async def test_without_the_right_to_look_the_pod_still_says_what_it_requests() -> None:
    for status in (403, 0):
        world = World()
        world.error = ApiError("no", status=status)
        said = await world.said(_pod("p", message=FULL))
        assert "requests 1500m of CPU and 512Mi of memory (kubectl describe nodes" in said
        assert FULL in said


def test_the_nearest_node_is_the_one_that_has_most_of_what_is_scarcer() -> None:
    rooms = {"cpu": Amount(4000, GIB // 8), "memory": Amount(100, 9 * GIB), "both": Amount(900, GIB - 1)}
    said = text(Amount(1000, GIB), rooms)
    assert "node both" in said
    assert said.endswith("has 900m of CPU and 1023Mi of memory free"), "rounded down: less than was requested"
    assert text(Amount(1000, GIB), {"full": Amount(-200, -1)}).endswith("node full has 0 of CPU and 0 of memory free")
