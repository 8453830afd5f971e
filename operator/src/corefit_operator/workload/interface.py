"""The interface of a workload, whatever kind it is: the only names that other packages use.

A new kind is a module of this package that has these methods, and a line of `kinds`. Each resource has one workload and
one scale target: two sets of pods need a list of targets here, in `scale` and in `status.outcome`.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from corefit_core.manifest import Manifest
from corefit_core.spec.serving_spec import ServingSpec
from corefit_operator.cache.view import View
from corefit_operator.diagnosis.condition import ConditionValue
from corefit_operator.diagnosis.problem import Problem
from corefit_operator.kube.pods import Pod
from corefit_operator.kube.workloads import Child
from corefit_operator.workload.sidecars import Sidecars


class Sources(msgspec.Struct, frozen=True):
    """Where workloads are looked up: what the view has, and what the API server is asked."""

    view: View
    sidecars: Sidecars


class Situation(msgspec.Struct, frozen=True, kw_only=True):
    """What the conditions of a workload's pods follow from.

    Attributes:
        present, ready: pods that are there, and those of them that say they can serve.
        desired: replicas that the workload is to have.
        problem: what the API server refuses, else what keeps pods from serving.
        refused: whether it is the API server that refuses something.
        upgrade_waits: the operator wants another pod template, and others are being rolled to theirs.
        outputs_note: what ready pods say of outputs that they leave out; empty when they say nothing.
    """

    present: int
    ready: int
    desired: int
    problem: Problem | None = None
    refused: bool = False
    upgrade_waits: bool = False
    outputs_note: str = ""


class ObservedWorkload(Protocol):
    """A workload as it was found in one reconcile."""

    @property
    def scale_target(self) -> Child | None:
        """The Deployment or StatefulSet that has the replicas; None where there is none that Corefit may look at."""

    @property
    def is_known(self) -> bool:
        """Whether there is enough to recommend replicas for it."""

    @property
    def is_scalable(self) -> bool:
        """Whether its replicas are Corefit's to write."""

    @property
    def is_cached(self) -> bool:
        """Whether the view has it; another is looked up anew in each reconcile."""

    @property
    def sidecar(self) -> Manifest | None:
        """What pods of others get, for the status; None where they get nothing."""

    @property
    def stale(self) -> int | None:
        """Pods with an older sidecar than that; None where there are none with a sidecar."""

    def serving(self, ready: int) -> int:
        """How many of the ready pods requests reach."""

    def is_idle(self, present: int) -> bool:
        """Whether there is nothing to look at: three hundred such resources took the time of others' changes."""

    def ready(self, situation: Situation) -> ConditionValue:
        """The condition Ready."""

    def progressing(self, situation: Situation) -> ConditionValue:
        """The condition Progressing."""

    def injectable(self) -> ConditionValue | None:
        """The condition Injectable; None where pods are Corefit's own."""

    def not_scaling(self) -> ConditionValue | None:
        """The condition ScalingActive where nothing is scaled because of how things are; None where that isn't so."""


class Workload(Protocol):
    """The workload of one resource, before it is looked at."""

    @property
    def spec(self) -> ServingSpec:
        """The resource."""

    @property
    def children(self) -> tuple[Manifest, ...]:
        """The manifests of its children, in the order in which they are to be written."""

    @property
    def start_millicores(self) -> int:
        """CPU that its new pods start with."""

    @property
    def selector(self) -> Mapping[str, str]:
        """The labels that select its pods."""

    def owns(self, pod: Pod) -> bool:
        """Whether a pod that bears the resource's label is one of its pods."""

    async def offer(self, sources: Sources) -> None:
        """Makes known to users what they can do with the resource."""

    async def observe(self, sources: Sources, live: Sequence[Pod], *, allowed: bool) -> ObservedWorkload:
        """Looks at it.

        Args:
            sources: where to look.
            live: its pods.
            allowed: whether the platform's policy allows what the resource says.

        Raises:
            ApiError: the API server can't be asked.
        """
