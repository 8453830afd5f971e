"""The status of a resource: a pure function of what was found, and of the status before for transition times.

May not do I/O, and may not say more than was found.
"""

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import UNSET, UnsetType

from corefit_core.api.status import (
    Condition,
    CpuStatus,
    InferenceServiceStatus,
    LastDecision,
    ModelStatus,
    PlanStatus,
)
from corefit_core.errors import InvalidInput
from corefit_core.figures import figure
from corefit_core.quantity import format_millicores
from corefit_core.recommender import Decision
from corefit_core.service import Service
from corefit_core.sizing import SizingPlan
from corefit_operator.children import metadata
from corefit_operator.kube import pod_cpu
from corefit_operator.resize import sizes
from corefit_operator.status import conditions, cost
from corefit_operator.status.result import Result
from corefit_operator.status.target_conditions import ConditionValue

if TYPE_CHECKING:
    from corefit_core.report import PlanInForce

_WITH_FIGURES: Final = frozenset({"ScalingActive", "Burst", "Sized", "ObjectiveMet", "ObjectiveReachable"})
"""Conditions that follow measurements: their message has figures in it, their reason goes to and fro with the load."""
_WHY_MAX: Final = 1024


def of(service: Service, found: Result, before: InferenceServiceStatus, now: str) -> InferenceServiceStatus:
    """The status of a resource that can be read."""
    decision = found.decision
    plan, pods = _plan(service.plan, found), conditions.of_pods(service, found)
    return InferenceServiceStatus(
        observed_generation=service.generation,
        replicas=len(found.pods),
        ready=f"{found.ready}/{found.desired}",
        state=conditions.state(pods),
        ready_replicas=found.ready,
        desired_replicas=found.desired,
        sidecar=(found.beside.template if found.beside else None) or UNSET,
        stale_replicas=found.beside.stale if found.beside else UNSET,
        recommended_replicas=decision.replicas if decision else UNSET,
        selector=metadata.selector_text(service),
        model=_model(service, found),
        plan=plan,
        cpu=_cpu(service, found),
        latency=_latency(service, decision),
        cost_per_hour=f"{cost.per_hour(service, found.pods):.4f} {service.policy.price.currency}",
        last_decision=_last_decision(decision, before.last_decision, now),
        conditions=_stamped(
            before,
            service.generation,
            now,
            [
                *pods,
                conditions.sized(plan),
                conditions.scaling_active(service, found),
                *conditions.of_objective(service, found),
                *([conditions.resized(found.cpu)] if found.cpu is not None else []),
                *([conditions.burst(found.burst)] if found.burst is not None else []),
            ],
        ),
    )


def of_unreadable(
    error: InvalidInput, generation: int, before: InferenceServiceStatus, now: str
) -> InferenceServiceStatus:
    """The status of a resource that can't be read: what was there stays, the conditions say what is wrong."""
    invalid = conditions.unreadable(error)
    ready = next((c for c in before.conditions if c.type == "Ready"), None)
    first = (ready.status, ready.reason, ready.message) if ready else invalid
    said = [("Ready", *first), ("Progressing", *invalid), ("Sized", *invalid), ("ScalingActive", *invalid)]
    stamped = _stamped(before, generation, now, said)
    return msgspec.structs.replace(
        before, observed_generation=generation, state=conditions.state(said), conditions=stamped
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
    kept = tuple(
        msgspec.structs.replace(c, reason="", message="", last_transition_time="") if c.type in _WITH_FIGURES else c
        for c in status.conditions
    )
    made = status.last_decision
    if made is not UNSET:
        made = LastDecision(time="", replicas=made.replicas, cpu=made.cpu, reason="", message="")
    return msgspec.structs.replace(
        status,
        latency=UNSET,
        cost_per_hour=UNSET,
        recommended_replicas=UNSET,
        plan=UNSET,
        last_decision=made,
        conditions=kept,
    )


def _stamped(
    before: InferenceServiceStatus, generation: int, now: str, statements: list[ConditionValue]
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


def _cpu(service: Service, found: Result) -> CpuStatus:
    """CPU of the pods, whether it may be changed in place or not."""
    if found.cpu is not None:
        wanted, granted = found.cpu.wanted, found.cpu.granted
    else:
        wanted, granted = service.millicores, tuple(pod_cpu.requested(pod) for pod in found.pods if pod.ready)
    return CpuStatus(wanted=format_millicores(wanted), granted=sizes.span_text(granted))


def _model(service: Service, found: Result) -> ModelStatus | UnsetType:
    """The model of most of the ready pods: during a rollout, and when one is stuck, not the one that spec names."""
    ready = [pod for pod in found.pods if pod.ready]
    if not ready:
        return UNSET
    (uri, revision), _ = Counter((pod.model_uri, pod.model_revision) for pod in ready).most_common(1)[0]
    if not uri and found.deployment is not None and found.deployment.rolling_out:
        return UNSET  # pods of a version of the operator that did not say it
    serving = (pod.metadata.uid for pod in ready if (pod.model_uri, pod.model_revision) == (uri, revision))
    reports = (found.reports.get(uid) for uid in serving)
    sums = {report.model.sha256 for report in reports if report is not None}
    return ModelStatus(
        uri=uri or service.source_uri,
        revision=revision or UNSET,
        sha256=sums.pop() if len(sums) == 1 else UNSET,
    )


def _plan(computed: SizingPlan, found: Result) -> PlanStatus:
    """What ready pods report, since they have measured; what was computed from the limit until they do."""
    reported = [found.reports[pod.metadata.uid].plan for pod in found.pods if pod.metadata.uid in found.reports]
    plan: PlanInForce | SizingPlan = next((p for p in reported if p.workers), computed)
    return PlanStatus(
        workers=plan.workers,
        threads_per_worker=plan.threads_per_worker,
        queue_depth=plan.queue_depth,
        why=plan.why[:_WHY_MAX],
    )


def _latency(service: Service, decision: Decision | None) -> str | UnsetType:
    if decision is None or decision.latency_s is None:
        return UNSET
    objective = service.objective
    measured, wanted = figure(1000 * decision.latency_s, 2), figure(1000 * objective.latency_s, 6)
    return f"p{figure(objective.percentile, 6)} {measured}ms/{wanted}ms 1m"


def _last_decision(decision: Decision | None, before: LastDecision | UnsetType, now: str) -> LastDecision | UnsetType:
    """The newest decision, with the time since when it is the same but for its figures."""
    if decision is None:
        return before
    new = LastDecision(
        time=now,
        replicas=decision.replicas,
        cpu=UNSET if decision.millicores is None else format_millicores(decision.millicores),
        uncapped=UNSET if decision.uncapped is None else decision.uncapped,
        reason=decision.reason,
        message=decision.message[:_WHY_MAX],
    )
    if before is not UNSET and _decided(before) == _decided(new):
        return msgspec.structs.replace(new, time=before.time)
    return new


def _decided(made: LastDecision) -> tuple[object, ...]:
    return made.replicas, made.cpu, made.reason
