"""What nodes have left: what pods count for, and when it is looked at, or can't be."""

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corefit_operator.kube.api_error import ApiError
from corefit_operator.resize.node_headroom import FORBIDDEN_S, FRESH_S, Headroom, left, requested


def _container(cpu: str | None, **more: Any) -> dict[str, Any]:
    return {"name": "c", "resources": {"requests": {"cpu": cpu}} if cpu else {}, **more}


class FakeCluster:
    """One node with one pod; counts the looks."""

    def __init__(self) -> None:
        self.looks = 0
        self.error: ApiError | None = None

    async def get(self, kind: str, namespace: str | None, name: str) -> dict[str, Any] | None:
        assert (kind, namespace) == ("Node", None)
        self.looks += 1
        if self.error is not None:
            raise self.error
        return {"status": {"allocatable": {"cpu": "2"}}} if name == "here" else None

    async def pods_on(self, node: str) -> list[dict[str, Any]]:
        assert node == "here"
        return [{"spec": {"containers": [_container("500m")]}}]


def _headroom() -> tuple[Headroom, FakeCluster, list[float]]:
    cluster, now = FakeCluster(), [100.0]
    return Headroom(cluster, lambda: now[0]), cluster, now  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("spec", "millicores"),
    [
        ({"containers": [_container("250m"), _container("1"), _container(None)]}, 1250),
        ({"containers": [_container("250m")], "initContainers": [_container("2")]}, 2000),
        ({"containers": [_container("250m")], "initContainers": [_container("1", restartPolicy="Always")]}, 1250),
        (
            {
                "containers": [_container("100m")],
                "initContainers": [_container("1", restartPolicy="Always"), _container("500m")],
            },
            1500,
        ),
        ({"containers": [_container("250m")], "overhead": {"cpu": "50m"}}, 300),
        ({"containers": [_container("250m")], "resources": {"requests": {"cpu": "3"}}}, 3000),
        ({}, 0),
    ],
)
def test_a_pod_counts_as_the_scheduler_counts_it(spec: dict[str, Any], millicores: int) -> None:
    assert requested({"spec": spec}) == (millicores, 0)


def test_memory_is_counted_as_cpu_is() -> None:
    spec = {
        "containers": [{"name": "c", "resources": {"requests": {"cpu": "1", "memory": "1Gi"}}}],
        "initContainers": [
            {"name": "s", "restartPolicy": "Always", "resources": {"requests": {"memory": "256Mi"}}},
            {"name": "i", "resources": {"requests": {"cpu": "2", "memory": "64Mi"}}},
        ],
        "overhead": {"memory": "16Mi"},
    }
    assert requested({"spec": spec}) == (2000, (1024 + 256 + 16) * 2**20)
    node = {"status": {"allocatable": {"cpu": "4", "memory": "2Gi"}}}
    assert left(node, [{"spec": spec}]) == (2000, (2048 - 1024 - 256 - 16) * 2**20)


def test_in_the_midst_of_a_resize_the_larger_counts() -> None:
    status = {"containerStatuses": [{"name": "c", "allocatedResources": {"cpu": "2"}}]}
    assert requested({"spec": {"containers": [_container("500m")]}, "status": status}).millicores == 2000
    assert requested({"spec": {"containers": [_container("3")]}, "status": status}).millicores == 3000


def test_so_it_does_of_a_sidecar() -> None:
    """Its shrinking was counted as room before the kubelet had given any back."""
    sidecar = {**_container("500m"), "name": "s", "restartPolicy": "Always"}
    spec = {"containers": [_container("1")], "initContainers": [sidecar]}
    status = {"initContainerStatuses": [{"name": "s", "allocatedResources": {"cpu": "2"}}]}
    assert requested({"spec": spec, "status": status}).millicores == 3000


@given(st.lists(st.integers(0, 10_000)), st.integers(0, 100_000))
def test_what_is_left_is_what_pods_do_not_ask_for(pods: list[int], allocatable: int) -> None:
    node = {"status": {"allocatable": {"cpu": f"{allocatable}m"}}}
    specs = [{"spec": {"containers": [_container(f"{m}m")]}} for m in pods]
    assert left(node, specs).millicores == allocatable - sum(pods)


def test_a_pod_that_asks_for_more_than_there_is_takes_one_node_and_no_decision() -> None:
    """A request of 1E raised, and with it every decision for pods on that node."""
    node = {"status": {"allocatable": {"cpu": "8"}}}
    assert (
        left(
            node, [{"spec": {"containers": [_container("1E")]}}, {"spec": {"containers": [_container("1")]}}]
        ).millicores
        < 0
    )


async def test_a_node_that_cannot_be_read_leaves_the_room_of_others() -> None:
    headroom, cluster, _ = _headroom()
    pods_on = cluster.pods_on

    async def odd(node: str) -> list[dict[str, Any]]:
        return [{"spec": {"containers": [_container("-1")]}}] if node == "odd" else await pods_on(node)

    async def get(kind: str, namespace: str | None, name: str) -> dict[str, Any] | None:
        return {"status": {"allocatable": {"cpu": "2"}}}

    cluster.pods_on, cluster.get = odd, get  # type: ignore[method-assign]
    assert await headroom.of(["here", "odd"]) == {"here": (1500, 0), "odd": (0, 0)}


async def test_a_node_is_looked_at_once_in_a_while_and_what_was_taken_is_counted_between() -> None:
    headroom, cluster, now = _headroom()
    assert await headroom.of(["here", "here"]) == {"here": (1500, 0)}
    headroom.take("here", 400)
    assert await headroom.of(["here"]) == {"here": (1100, 0)}
    assert cluster.looks == 1
    now[0] += FRESH_S + 1
    assert await headroom.of(["here"]) == {"here": (1500, 0)}
    assert cluster.looks == 2


async def test_two_services_on_a_node_look_at_it_once() -> None:
    headroom, cluster, _ = _headroom()
    await asyncio.gather(headroom.of(["here"]), headroom.of(["here"]))
    assert cluster.looks == 1


async def test_a_node_that_is_gone_has_nothing() -> None:
    headroom, _, _ = _headroom()
    assert await headroom.of(["gone"]) == {"gone": (0, 0)}


async def test_without_the_right_to_look_nothing_is_known_until_it_is_tried_again() -> None:
    headroom, cluster, now = _headroom()
    cluster.error = ApiError("forbidden", status=403)
    assert await headroom.of(["here"]) is None
    assert await headroom.of(["here"]) is None
    assert cluster.looks == 1
    cluster.error = None
    now[0] += FORBIDDEN_S + 1
    assert await headroom.of(["here"]) == {"here": (1500, 0)}


async def test_an_operator_of_some_namespaces_does_not_ask_for_nodes() -> None:
    _, cluster, now = _headroom()
    headroom = Headroom(cluster, lambda: now[0], allowed=False)  # type: ignore[arg-type]
    assert await headroom.of(["here"]) is None
    assert cluster.looks == 0


async def test_an_api_server_that_is_away_is_no_answer() -> None:
    headroom, cluster, _ = _headroom()
    cluster.error = ApiError("down", status=0)
    with pytest.raises(ApiError):
        await headroom.of(["here"])
