"""What one reconcile found: the input of the status and of the metrics. May not decide anything."""

from collections.abc import Mapping

import msgspec

from corefit_core.burst import Verdict
from corefit_core.recommender import Decision
from corefit_core.report import Report
from corefit_operator.diagnosis.problem import Problem
from corefit_operator.kube.pods import Pod
from corefit_operator.kube.workloads import Child
from corefit_operator.resize.sizes import Sized
from corefit_operator.workload.target import ObservedTarget


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What one reconcile found.

    Attributes:
        deployment: None as long as there is none.
        pods: the live ones.
        reports: of this round, by pod uid.
        desired: what the Deployment is to have.
        problem: what keeps pods from serving.
        refused: what the API server refuses about the children.
        contended: somebody else wrote the Deployment's replicas lately.
        changed_back: the replicas are again what they were before that.
        upgrade_waits: the operator wants another pod template, and others are being rolled to theirs.
        beside: around a resource of mode Sidecar; None for others.
        cpu: of the pods; None where it never changes in place.
        burst: whether nodes lend CPU beyond the requests; None where none is lent, or nothing is known.
    """

    deployment: Child | None
    pods: tuple[Pod, ...]
    reports: Mapping[str, Report]
    decision: Decision | None
    desired: int
    problem: Problem | None = None
    refused: Problem | None = None
    contended: bool = False
    changed_back: bool = False
    upgrade_waits: bool = False
    beside: ObservedTarget | None = None
    cpu: Sized | None = None
    burst: Verdict | None = None

    @property
    def ready(self) -> int:
        """Pods that say they can serve."""
        return sum(pod.ready for pod in self.pods)

    @property
    def serving(self) -> int:
        """Pods that have said so for long enough that requests reach them; in mode Sidecar that is others' matter."""
        if self.beside is not None:
            return self.ready
        return min(self.ready, self.deployment.status.available_replicas) if self.deployment else 0
