"""What size each pod is to have, from the resource, the decision and the pods as they are. Pure.

A pod starts with what the template says and is left alone until it serves; then it is brought to what is wanted.
May not ask for anything: that is `resizing`'s.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, TypeVar

import msgspec

from corefit_core.naming import CONTAINER, SIDECAR
from corefit_core.quantity import bounded_millicores, format_millicores
from corefit_core.recommender import Decision
from corefit_core.report import Report
from corefit_core.service import Service
from corefit_operator.diagnosis import Problem
from corefit_operator.objects import Container, ContainerResources, ContainerStatus, Pod

NAMES: Final = (SIDECAR, CONTAINER)
"""The runtime's container, beside an application and in a pod of its own: an application may call one of its own
`runtime`, but none by the sidecar's name, so that comes first."""
Named = TypeVar("Named", Container, ContainerStatus)


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """A pod that is to be given other CPU."""

    pod: Pod
    before: int
    millicores: int

    @property
    def grows(self) -> bool:
        """Whether it needs room on the node."""
        return self.millicores > self.before


class Scene(msgspec.Struct, frozen=True, kw_only=True):
    """What sizes follow from.

    Attributes:
        service: the resource.
        pods: those whose model is loaded.
        decision: the newest; None when there is none.
        start: what the template gives to new pods.
    """

    service: Service
    pods: tuple[Pod, ...]
    decision: Decision | None
    start: int


class Sized(msgspec.Struct, frozen=True, kw_only=True):
    """CPU of the pods of a resource that is resized in place, after a round of it.

    Attributes:
        wanted: millicores that each pod is to have.
        granted: what those that serve have.
        steps: what was asked for in this round.
        waiting: resizes that are not in force yet.
        problem: why not all is as wanted.
    """

    wanted: int
    granted: tuple[int, ...] = ()
    steps: tuple[Step, ...] = ()
    waiting: int = 0
    problem: Problem | None = None


class Pending(msgspec.Struct, frozen=True, kw_only=True):
    """A resize that was asked for and is not granted, in the kubelet's words (KEP-1287).

    Deferred: there is no room at the moment. Infeasible: there never will be on this node.
    """

    reason: Literal["Deferred", "Infeasible"]
    message: str


def asked(pod: Pod) -> int:
    """CPU that the pod's spec asks for the runtime, in millicores; 0 when it says nothing."""
    own = _own(_containers(pod))
    return _cpu(own.resources) if own is not None else 0


def granted(pod: Pod) -> int:
    """CPU that the kubelet has given to it; before the container runs, what it asks for."""
    statuses = (*pod.status.container_statuses, *pod.status.init_container_statuses)
    own = _own(statuses)
    return (_cpu(own.resources) if own is not None and own.resources is not None else 0) or asked(pod)


def reserved(pod: Pod) -> int:
    """CPU that its node holds for the runtime: the request where the limit is more, what is granted elsewhere."""
    own = _own(_containers(pod))
    request = bounded_millicores(own.resources.requests.get("cpu", 0)) if own is not None else 0
    return request if 0 < request < asked(pod) else granted(pod)


def patch(pod: Pod, millicores: int) -> dict[str, Any]:
    """The part of the pod's spec that gives the runtime so much CPU, request and limit alike: the same QoS class."""
    cpu = {"cpu": format_millicores(millicores)}
    field = "initContainers" if any(c.name == SIDECAR for c in pod.spec.init_containers) else "containers"
    name = SIDECAR if field == "initContainers" else CONTAINER
    return {field: [{"name": name, "resources": {"requests": cpu, "limits": cpu}}]}


def pending(pod: Pod) -> Pending | None:
    """Why the kubelet does not grant what is asked, if it has said so."""
    for condition in pod.status.conditions:
        if condition.type == "PodResizePending" and condition.status == "True":
            reason: Literal["Deferred", "Infeasible"] = "Infeasible" if condition.reason == "Infeasible" else "Deferred"
            return Pending(reason=reason, message=condition.message)
    return None


def started(pods: Sequence[Pod], reports: Mapping[str, Report]) -> tuple[Pod, ...]:
    """The pods whose model is loaded, by the kubelet's word or by their own: a probe may be late under load."""

    def serves(pod: Pod) -> bool:
        report = reports.get(pod.metadata.uid)
        return pod.ready or (report is not None and report.state == "Ready")

    return tuple(pod for pod in pods if pod.live and serves(pod))


def steps(scene: Scene) -> tuple[Step, ...]:
    """The changes that bring the started pods to what is wanted; those that give CPU back come first."""
    changes = ((pod, asked(pod), _wanted(scene, pod)) for pod in scene.pods)
    found = [Step(pod=pod, before=now, millicores=to) for pod, now, to in changes if now and to != now]
    return tuple(sorted(found, key=lambda step: step.millicores - step.before))


def _wanted(scene: Scene, pod: Pod) -> int:
    service, start, now = scene.service, scene.start, asked(pod)
    span, base = service.policy.cpu_range, service.millicores
    if service.mode == "Recommend":
        return base if now == start else now
    if span is None or service.mode == "Manual":
        return base
    decided = scene.decision.grants.get(pod.metadata.uid) if scene.decision is not None else None
    if decided is None:
        # Nothing is decided for it: a new one becomes as its siblings are, as in a rollout; the others stay.
        siblings = [asked(other) for other in scene.pods if asked(other) != start]
        decided = max(siblings, default=base) if now == start else now
    return max(span.min_millicores, min(span.max_millicores, decided))


def wanted(scene: Scene) -> int:
    """What each pod is to have, as people are told."""
    decided = scene.decision.millicores if scene.decision is not None and scene.service.mode != "Manual" else None
    return decided or scene.service.millicores


def span_text(millicores: Sequence[int]) -> str:
    """The least and the most, as people read it: `500m`, or `250m-1`."""
    if not millicores:
        return ""
    low, high = min(millicores), max(millicores)
    return format_millicores(low) if low == high else f"{format_millicores(low)}-{format_millicores(high)}"


def _own(found: Sequence[Named]) -> Named | None:
    by_name = {each.name: each for each in found}
    return next((by_name[name] for name in NAMES if name in by_name), None)


def _containers(pod: Pod) -> tuple[Container, ...]:
    return (*pod.spec.containers, *pod.spec.init_containers)


def _cpu(resources: ContainerResources) -> int:
    value = resources.limits.get("cpu", resources.requests.get("cpu"))
    return bounded_millicores(value) if value is not None else 0
