"""The status of a resource: a pure function of what was found, and of the status before for transition times.

May not do I/O, and may not say more than was found.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import UNSET, UnsetType

from corefit_core.api_status import Condition, CpuStatus, InferenceServiceStatus, LastDecision, PlanStatus
from corefit_core.burst import Verdict
from corefit_core.errors import InvalidInput
from corefit_core.quantity import format_millicores
from corefit_core.recommender import Decision
from corefit_core.report import PlanInForce, Report
from corefit_core.service import Service
from corefit_core.sizing import SizingPlan
from corefit_operator import beside, lending, manifests, sizes
from corefit_operator.beside import Beside
from corefit_operator.beside import Statement as _Statement
from corefit_operator.diagnosis import Problem
from corefit_operator.objects import Child, Pod
from corefit_operator.sizes import Sized

_HOLDING: Final = frozenset({"NoReports", "StaleReports"})
"""Decisions that are none: the recommender doesn't know and therefore holds."""
_WITH_FIGURES: Final = frozenset({"ScalingActive", "Burst"})
"""Conditions that follow measurements: their message has figures in it, their reason goes to and fro with the load."""
_WHY_MAX: Final = 1024
_CONTENDED: Final = (
    "Somebody else wrote the Deployment's replicas within the last ten minutes, and they were put back. To scale by "
    "hand or by an autoscaler of your own, scale the InferenceService to what it has, then set mode to Manual."
)
_UPGRADE_PENDING: Final = (
    "All replicas run what the resource asks for. The operator, which was upgraded or configured anew, gives pods "
    "another template; it rolls a few resources at a time, and this one has yet to come."
)


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What one reconcile found.

    Attributes:
        deployment: None as long as there is none.
        pods: the live ones.
        reports: of this round, by pod uid.
        desired: what the Deployment is to have.
        problem: what keeps pods from serving.
        refused: what the API server refuses about the children.
        contended: somebody else wrote the Deployment's replicas lately.
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
    upgrade_waits: bool = False
    beside: Beside | None = None
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


def of(service: Service, found: Found, before: InferenceServiceStatus, now: str) -> InferenceServiceStatus:
    """The status of a resource that can be read."""
    decision = found.decision
    return InferenceServiceStatus(
        observed_generation=service.generation,
        replicas=len(found.pods),
        ready_replicas=found.ready,
        desired_replicas=found.desired,
        sidecar=found.beside.template if found.beside else UNSET,
        stale_replicas=found.beside.stale if found.beside else UNSET,
        recommended_replicas=decision.replicas if decision else UNSET,
        selector=manifests.selector_text(service),
        plan=_plan(service.plan, found),
        cpu=_cpu(found.cpu),
        latency=_latency(service, decision),
        cost_per_hour=_cost(service, found),
        last_decision=_last_decision(decision, before.last_decision, now),
        conditions=_stamped(
            before,
            service.generation,
            now,
            [
                *_state(service, found),
                _sized(service),
                _scaling_active(service, found),
                *([_resized(found.cpu)] if found.cpu is not None else []),
                *([lending.statement(found.burst)] if found.burst is not None else []),
            ],
        ),
    )


def of_unreadable(
    error: InvalidInput, generation: int, before: InferenceServiceStatus, now: str
) -> InferenceServiceStatus:
    """The status of a resource that can't be read: what was there stays, the conditions say what is wrong."""
    invalid = ("False", "InvalidSpec", f"{error}. What was there before goes on serving.")
    ready = next((c for c in before.conditions if c.type == "Ready"), None)
    first = (ready.status, ready.reason, ready.message) if ready else invalid
    conditions = [("Ready", *first), ("Progressing", *invalid), ("Sized", *invalid), ("ScalingActive", *invalid)]
    return msgspec.structs.replace(
        before, observed_generation=generation, conditions=_stamped(before, generation, now, conditions)
    )


def parse(raw: Mapping[str, Any] | None) -> InferenceServiceStatus:
    """The status as stored; an empty one when there is none or it can't be read, since we are its only writer."""
    try:
        return msgspec.convert(raw or {}, InferenceServiceStatus)
    except msgspec.ValidationError:
        return InferenceServiceStatus()


def encode(status: InferenceServiceStatus) -> dict[str, Any]:
    """For the API server."""
    encoded: dict[str, Any] = msgspec.to_builtins(status)
    return encoded


def urgent(new: InferenceServiceStatus, old: InferenceServiceStatus) -> bool:
    """Whether more changed than figures that change with every measurement."""
    return _settled(new) != _settled(old)


def _settled(status: InferenceServiceStatus) -> InferenceServiceStatus:
    conditions = tuple(
        msgspec.structs.replace(c, reason="", message="", last_transition_time="") if c.type in _WITH_FIGURES else c
        for c in status.conditions
    )
    return msgspec.structs.replace(
        status, latency=UNSET, cost_per_hour=UNSET, recommended_replicas=UNSET, plan=UNSET, conditions=conditions
    )


def _stamped(
    before: InferenceServiceStatus, generation: int, now: str, statements: list[_Statement]
) -> tuple[Condition, ...]:
    known = {c.type: c for c in before.conditions}
    return tuple(
        Condition(
            type=type_,
            status="True" if status == "True" else "False" if status == "False" else "Unknown",
            observed_generation=generation,
            last_transition_time=(
                known[type_].last_transition_time if type_ in known and known[type_].status == status else now
            ),
            reason=reason,
            message=message,
        )
        for type_, status, reason, message in statements
    )


def _state(service: Service, found: Found) -> list[_Statement]:
    """What is said of the pods."""
    around, trouble = found.beside, found.refused or found.problem
    if around is None:
        return [_ready(found), _progressing(found)]
    present = len(found.pods)
    return [
        beside.ready(service, found.ready, present, trouble),
        beside.progressing(around, present, trouble),
        beside.injectable(around),
    ]


def _ready(found: Found) -> _Statement:
    if found.serving:
        return "Ready", "True", "Serving", f"{found.serving} of {found.desired} replicas serve."
    trouble = found.refused or found.problem
    if trouble:
        return "Ready", "False", trouble.reason, trouble.message
    if found.desired == 0:
        return "Ready", "False", "ScaledToZero", "spec.scaling.replicas is 0: nothing serves until it is raised."
    return "Ready", "False", "Starting", "No pod is ready yet; a pod loads and warms its model up first."


def _progressing(found: Found) -> _Statement:
    trouble = found.refused or found.problem
    complete = found.deployment is not None and not found.deployment.rolling_out and found.serving >= found.desired
    if complete and found.upgrade_waits:
        return "Progressing", "True", "UpgradePending", _UPGRADE_PENDING
    if complete and not found.refused:
        return "Progressing", "True", "Complete", "All replicas run what the resource asks for."
    if trouble:
        kept = " The pods of before go on serving." if found.serving else ""
        return "Progressing", "False", trouble.reason, f"{trouble.message}{kept}"
    if found.deployment is not None and found.deployment.rolling_out:
        return "Progressing", "True", "RollingOut", "Pods of the new template replace those of the old one."
    return "Progressing", "True", "Starting", f"{found.ready} of {found.desired} replicas are ready."


def _sized(service: Service) -> _Statement:
    return "Sized", "True", "Planned", service.plan.why[:_WHY_MAX]


def _scaling_active(service: Service, found: Found) -> _Statement:
    decision = found.decision
    hindered = beside.not_scaling(service, found.beside) if found.beside else None
    if hindered is not None:
        return hindered
    if found.contended and service.mode != "Recommend":
        active = "True" if service.mode == "Auto" else "False"
        return "ScalingActive", active, "ReplicasContended", _CONTENDED
    if service.mode == "Manual":
        return "ScalingActive", "False", "Manual", "spec.scaling.replicas rules; set mode to Auto to have it scaled."
    if service.mode == "Recommend":
        return "ScalingActive", "False", "RecommendOnly", "Status says what would be done; set mode to Auto to do it."
    if decision is None:
        return "ScalingActive", "Unknown", "NotDecided", "No decision has been taken yet."
    return "ScalingActive", "False" if decision.reason in _HOLDING else "True", decision.reason, decision.message


def _resized(cpu: Sized) -> _Statement:
    if cpu.problem is not None:
        return "Resized", "False", cpu.problem.reason, cpu.problem.message
    if cpu.waiting:
        return "Resized", "Unknown", "InProgress", f"{cpu.waiting} pods are being given other CPU."
    return "Resized", "True", "AsWanted", "Every pod that serves has the CPU that it is to have."


def _cpu(cpu: Sized | None) -> CpuStatus | UnsetType:
    if cpu is None:
        return UNSET
    return CpuStatus(wanted=format_millicores(cpu.wanted), granted=sizes.span_text(cpu.granted))


def _plan(computed: SizingPlan, found: Found) -> PlanStatus:
    """What ready pods report, since they have measured; what was computed from the limit until they do."""
    reported = [found.reports[pod.metadata.uid].plan for pod in found.pods if pod.metadata.uid in found.reports]
    plan: PlanInForce | SizingPlan = next((p for p in reported if p.workers), computed)
    return PlanStatus(
        workers=plan.workers,
        threads_per_worker=plan.threads_per_worker,
        queue_depth=plan.queue_depth,
        shape=f"{plan.workers}x{plan.threads_per_worker}",
        why=plan.why[:_WHY_MAX],
    )


def _latency(service: Service, decision: Decision | None) -> str | UnsetType:
    if decision is None or decision.latency_s is None:
        return UNSET
    objective = service.objective
    measured = float(f"{decision.latency_s * 1000:.2g}")
    return f"p{objective.percentile:g} {measured:g}ms/{objective.latency_s * 1000:g}ms"


def _cost(service: Service, found: Found) -> str:
    policy = service.policy
    millicores = sum(sizes.reserved(pod) or policy.millicores_per_pod for pod in found.pods)
    per_hour = policy.price.per_hour(millicores, len(found.pods) * policy.memory_bytes_per_pod)
    return f"{per_hour:.4f} {policy.price.currency}"


def _last_decision(decision: Decision | None, before: LastDecision | UnsetType, now: str) -> LastDecision | UnsetType:
    """The decision that the present replicas and sizes come from: kept while later ones say the same."""
    if decision is None:
        return before
    cpu = UNSET if decision.millicores is None else format_millicores(decision.millicores)
    if before is not UNSET and (before.replicas, before.cpu) == (decision.replicas, cpu):
        return before
    return LastDecision(
        time=now,
        replicas=decision.replicas,
        cpu=cpu,
        uncapped=UNSET if decision.uncapped is None else decision.uncapped,
        reason=decision.reason,
        message=decision.message[:_WHY_MAX],
    )
