"""CPU of the runtime's container in a pod: what its spec asks for, what the kubelet has given (KEP-1287). Pure."""

from collections.abc import Sequence
from typing import Any, Final, Literal, TypeVar

import msgspec

from corefit_core.naming import CONTAINER, SIDECAR
from corefit_core.quantity import bounded_millicores, format_millicores
from corefit_operator.kube.pods import Container, ContainerResources, ContainerStatus, Pod

NAMES: Final = (SIDECAR, CONTAINER)
"""The runtime's container, beside an application and in a pod of its own: an application may call one of its own
`runtime`, but none by the sidecar's name, so that comes first."""
Named = TypeVar("Named", Container, ContainerStatus)


class ResizePending(msgspec.Struct, frozen=True, kw_only=True):
    """A resize that was requested and is not granted, in the kubelet's words (KEP-1287).

    Deferred: there is no room at the moment. Infeasible: there never will be on this node.
    """

    reason: Literal["Deferred", "Infeasible"]
    message: str


def desired(pod: Pod) -> int:
    """CPU that the pod's spec asks for the runtime, in millicores; 0 when it says nothing."""
    own = _own(_containers(pod))
    return _cpu(own.resources) if own is not None else 0


def actual(pod: Pod) -> int:
    """CPU that the kubelet has given to it; before the container runs, what it asks for."""
    statuses = (*pod.status.container_statuses, *pod.status.init_container_statuses)
    own = _own(statuses)
    return (_cpu(own.resources) if own is not None and own.resources is not None else 0) or desired(pod)


def requested(pod: Pod) -> int:
    """CPU that its node holds for the runtime: the request where the limit is more, what is granted elsewhere."""
    own = _own(_containers(pod))
    request = bounded_millicores(own.resources.requests.get("cpu", 0)) if own is not None else 0
    return request if 0 < request < desired(pod) else actual(pod)


def resize_patch(pod: Pod, millicores: int) -> dict[str, Any]:
    """The part of the pod's spec that gives the runtime so much CPU, request and limit alike: the same QoS class."""
    cpu = {"cpu": format_millicores(millicores)}
    field = "initContainers" if any(c.name == SIDECAR for c in pod.spec.init_containers) else "containers"
    name = SIDECAR if field == "initContainers" else CONTAINER
    return {field: [{"name": name, "resources": {"requests": cpu, "limits": cpu}}]}


def resize_pending(pod: Pod) -> ResizePending | None:
    """Why the kubelet does not grant what is asked, if it has said so."""
    for condition in pod.status.conditions:
        if condition.type == "PodResizePending" and condition.status == "True":
            reason: Literal["Deferred", "Infeasible"] = "Infeasible" if condition.reason == "Infeasible" else "Deferred"
            return ResizePending(reason=reason, message=condition.message)
    return None


def _own(found: Sequence[Named]) -> Named | None:
    by_name = {each.name: each for each in found}
    return next((by_name[name] for name in NAMES if name in by_name), None)


def _containers(pod: Pod) -> tuple[Container, ...]:
    return (*pod.spec.containers, *pod.spec.init_containers)


def _cpu(resources: ContainerResources) -> int:
    value = resources.limits.get("cpu", resources.requests.get("cpu"))
    return bounded_millicores(value) if value is not None else 0
