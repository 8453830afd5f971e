"""The name by which a Service finds the port in pods of applications, and who has to do without."""

from typing import Any

import pytest

from corefit_core.pods.service_port_name import named
from corefit_core.spec.decode import decode
from corefit_operator.children.defaults import Defaults
from corefit_operator.children.registry import desired
from corefit_operator.children.service import reachable
from corefit_operator.kube.pods import Pod, decode_pod

HTTP = {"name": "http", "containerPort": 9000, "protocol": "TCP"}


def _container(*ports: dict[str, Any], name: str = "web") -> dict[str, Any]:
    return {"name": name, "image": "web:1", "ports": list(ports)}


def test_a_port_that_is_not_declared_is_declared_by_name() -> None:
    assert named([{"name": "web", "image": "web:1"}], 9000) == [_container(HTTP)]
    other = {"name": "metrics", "containerPort": 9100}
    assert named([_container(other)], 9000) == [_container(other, HTTP)]


def test_a_port_without_a_name_gets_it_where_it_is_declared() -> None:
    first, second = _container(name="first"), _container({"containerPort": 9000, "hostIP": "::"}, name="second")
    assert named([first, second], 9000) == [first, _container({**HTTP, "hostIP": "::"}, name="second")]


def test_a_port_that_is_declared_twice_gets_the_name_once() -> None:
    """Kubernetes refuses a name that two ports of a container have."""
    twice = _container({"containerPort": 9000}, {"containerPort": 9000, "hostIP": "::"})
    assert named([twice], 9000) == [_container(HTTP, {"containerPort": 9000, "hostIP": "::"})]


@pytest.mark.parametrize("port", [HTTP, {"name": "http", "containerPort": 9000}])
def test_what_has_the_name_already_is_left_as_it_is(port: dict[str, Any]) -> None:
    assert named([_container(port)], 9000) == [_container(port)]


def test_a_port_of_another_name_is_declared_beside_by_another_container() -> None:
    """Not in the same one: ports of a container are merged by number."""
    first, second = _container({"name": "web", "containerPort": 9000}, name="first"), _container(name="second")
    assert named([first, second], 9000) == [first, _container(HTTP, name="second")]


@pytest.mark.parametrize(
    "ports",
    [
        [{"name": "http", "containerPort": 80}],
        [{"name": "web", "containerPort": 9000}],
        [{"name": "http", "containerPort": 53, "protocol": "UDP"}],
        "none",
        [5],
    ],
)
def test_where_the_name_cannot_be_had_nothing_is_changed(ports: Any) -> None:
    assert named([{"name": "web", "ports": ports}], 9000) is None


def _children(*ports: dict[str, Any]) -> tuple[Any, Any]:
    """The Service's target, and what the application's container declares."""
    children = {child["kind"]: child for child in desired(_service(*ports), Defaults(image="i"))}
    (container,) = children["Deployment"]["spec"]["template"]["spec"]["containers"]
    return children["Service"]["spec"]["ports"][0]["targetPort"], container["ports"]


def _service(*ports: dict[str, Any]) -> Any:
    spec = {"model": {"uri": "http://models/a.onnx"}, "application": {"containers": [_container(*ports)], "port": 9000}}
    return decode({"metadata": {"name": "a", "namespace": "n", "uid": "u"}, "spec": spec})


def test_the_service_asks_for_the_name_only_where_pods_have_it() -> None:
    assert _children() == ("http", [HTTP])
    web = {"name": "web", "containerPort": 9000}
    assert _children(web) == (9000, [web])


def _pod(*names: str, gone: bool = False) -> Pod:
    meta = {"name": "p", "deletionTimestamp": "2026-01-01T00:00:00Z"} if gone else {"name": "p"}
    ports = [{"name": name, "containerPort": 9000} for name in names]
    return decode_pod({"metadata": meta, "spec": {"containers": [{"name": "web", "ports": ports}]}})


@pytest.mark.parametrize(
    ("pods", "target"),
    [
        ([], "http"),
        ([_pod("http"), _pod("web", "http")], "http"),
        ([_pod("http"), _pod()], 9000),
        ([_pod("http"), _pod(gone=True)], "http"),
    ],
)
def test_pods_of_a_version_that_named_no_port_are_reached_by_number(pods: list[Pod], target: str | int) -> None:
    service = _service()
    wanted = desired(service, Defaults(image="i"))
    found = {child["kind"]: child for child in reachable(service, wanted, pods)}
    assert found["Service"]["spec"]["ports"][0]["targetPort"] == target
    same = found["Service"]["metadata"]["annotations"] == wanted[2]["metadata"]["annotations"]
    assert same is (target == "http")
    assert found["Deployment"] == wanted[-1]


def test_other_ports_of_a_container_are_not_the_one_that_is_looked_for() -> None:
    """Lower and higher ones, and the same number of another protocol."""
    others = ({"containerPort": 80}, {"containerPort": 9001}, {"containerPort": 9000, "protocol": "UDP"})
    assert named([_container(*others)], 9000) == [_container(*others, HTTP)]
