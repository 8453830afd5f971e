"""The plan that a status shows: the one that ready pods report, else the one that follows from the limit alone."""

from typing import TYPE_CHECKING, Final

from corefit_core.api.status import PlanStatus
from corefit_core.sizing import SizingPlan
from corefit_operator.diagnosis.problem import printable
from corefit_operator.workload.observe import Observed

if TYPE_CHECKING:
    from corefit_core.report import PlanInForce

WHY_MAX: Final = 1024


def of(computed: SizingPlan, observed: Observed) -> PlanStatus:
    """The plan of the pods."""
    reports = (observed.reports.get(pod.metadata.uid) for pod in observed.pods)
    reported = (report.plan for report in reports if report is not None)
    plan: PlanInForce | SizingPlan = next((p for p in reported if p.workers), computed)
    return PlanStatus(
        workers=plan.workers,
        threads_per_worker=plan.threads_per_worker,
        queue_depth=plan.queue_depth,
        why=printable(plan.why)[:WHY_MAX],
    )
