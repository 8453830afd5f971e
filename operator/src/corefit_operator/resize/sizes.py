"""The size that each pod is to have, from the resource, the decision and the pods as they are. Pure.

A pod starts with what the template says and is left alone until it serves; then it is brought to what is wanted.
May not ask for anything: that is `resizer`'s.
"""

from collections.abc import Mapping, Sequence

import msgspec

from corefit_core.quantity import format_millicores
from corefit_core.recommender import Decision
from corefit_core.report import Report
from corefit_core.spec.serving_spec import ServingSpec
from corefit_operator.diagnosis.problem import Problem
from corefit_operator.kube import pod_cpu
from corefit_operator.kube.pods import Pod


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """A pod that is to be given other CPU."""

    pod: Pod
    before: int
    millicores: int

    @property
    def grows(self) -> bool:
        """Whether it needs room on the node."""
        return self.millicores > self.before


class SizingInput(msgspec.Struct, frozen=True, kw_only=True):
    """What sizes follow from.

    Attributes:
        spec: the resource.
        pods: those whose model is loaded.
        decision: the newest; None when there is none.
        start: what the template gives to new pods.
    """

    spec: ServingSpec
    pods: tuple[Pod, ...]
    decision: Decision | None
    start: int


class Sized(msgspec.Struct, frozen=True, kw_only=True):
    """CPU of the pods of a resource that is resized in place, after a round of it.

    Attributes:
        wanted: millicores that each pod is to have.
        granted: what those that serve have.
        steps: the resizes that were requested in this round.
        waiting: resizes that are not in force yet.
        problem: why not all is as wanted.
    """

    wanted: int
    granted: tuple[int, ...] = ()
    steps: tuple[Step, ...] = ()
    waiting: int = 0
    problem: Problem | None = None


def started(pods: Sequence[Pod], reports: Mapping[str, Report]) -> tuple[Pod, ...]:
    """The pods whose model is loaded, by the kubelet's word or by their own: a probe may be late under load."""

    def serves(pod: Pod) -> bool:
        report = reports.get(pod.metadata.uid)
        return pod.ready or (report is not None and report.state == "Ready")

    return tuple(pod for pod in pods if pod.live and serves(pod))


def steps(scene: SizingInput) -> tuple[Step, ...]:
    """The changes that bring the started pods to what is wanted; those that give CPU back come first."""
    changes = ((pod, pod_cpu.desired(pod), _wanted(scene, pod)) for pod in scene.pods)
    found = [Step(pod=pod, before=now, millicores=to) for pod, now, to in changes if now and to != now]
    return tuple(sorted(found, key=lambda step: step.millicores - step.before))


def _wanted(scene: SizingInput, pod: Pod) -> int:
    spec, start, now = scene.spec, scene.start, pod_cpu.desired(pod)
    span, base = spec.policy.cpu_range, spec.millicores
    if spec.mode == "Recommend":
        return base if now == start else now
    if span is None or spec.mode == "Manual":
        return base
    decided = scene.decision.grants.get(pod.metadata.uid) if scene.decision is not None else None
    if decided is None:
        # Nothing is decided for it: a new one becomes as its siblings are, as in a rollout; the others stay.
        siblings = [pod_cpu.desired(other) for other in scene.pods if pod_cpu.desired(other) != start]
        decided = max(siblings, default=base) if now == start else now
    return max(span.min_millicores, min(span.max_millicores, decided))


def wanted(scene: SizingInput) -> int:
    """What each pod is to have, as people read it."""
    decided = scene.decision.millicores if scene.decision is not None and scene.spec.mode != "Manual" else None
    return decided or scene.spec.millicores


def span_text(millicores: Sequence[int]) -> str:
    """The least and the most, as people read it: `500m`, or `250m-1`."""
    if not millicores:
        return ""
    low, high = min(millicores), max(millicores)
    return format_millicores(low) if low == high else f"{format_millicores(low)}-{format_millicores(high)}"
