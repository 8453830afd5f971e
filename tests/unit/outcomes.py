"""What a reconcile came to, for tests of what is said of it: of a resource with a Deployment of its own."""

from collections.abc import Mapping

import msgspec

from corefit_core.api.status import InferenceServiceStatus
from corefit_core.burst import Verdict
from corefit_core.recommender import Decision
from corefit_core.report import Report
from corefit_core.spec.serving_spec import ServingSpec
from corefit_operator.children.defaults import Defaults
from corefit_operator.children.settle import ChildrenResult
from corefit_operator.diagnosis.problem import Problem
from corefit_operator.kube.pods import Pod
from corefit_operator.kube.workloads import Child
from corefit_operator.resize.sizes import Sized
from corefit_operator.status import resource_status
from corefit_operator.status.outcome import Outcome
from corefit_operator.workload import contention, kinds
from corefit_operator.workload.observe import Observed
from corefit_operator.workload.owned import ObservedDeployment
from corefit_operator.workload.scale import ScaleResult

DEFAULTS = Defaults(image="i")


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """What the stages found and did; `contended` and `changed_back` by somebody else's write of the replicas."""

    deployment: Child | None = None
    pods: tuple[Pod, ...] = ()
    reports: Mapping[str, Report] = {}
    decision: Decision | None = None
    desired: int = 1
    problem: Problem | None = None
    refused: Problem | None = None
    contended: bool = False
    changed_back: bool = False
    upgrade_waits: bool = False
    cpu: Sized | None = None
    burst: Verdict | None = None

    def outcome(self, service: ServingSpec) -> Outcome:
        other = contention.message(service, self.deployment, changed_back=self.changed_back)
        return Outcome(
            violation=None,
            children=ChildrenResult(refused=self.refused, upgrade_waits=self.upgrade_waits),
            observed=Observed(
                workload=ObservedDeployment(spec=service, scale_target=self.deployment),
                pods=self.pods,
                reports=self.reports,
                problem=self.problem,
                burst=self.burst,
            ),
            decision=self.decision,
            cpu=self.cpu,
            scaled=ScaleResult(desired=self.desired, contended=other if self.contended else ""),
        )

    def status(self, service: ServingSpec, before: InferenceServiceStatus, now: str) -> InferenceServiceStatus:
        return resource_status.of(kinds.of(service, DEFAULTS), self.outcome(service), before, now)
