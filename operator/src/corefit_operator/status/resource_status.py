"""The status of a resource: a pure function of what was found, and of the status before for transition times.

May not do I/O, and may not say more than was found.
"""

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import UNSET, UnsetType

from corefit_core.api.status import (
    Balances,
    Condition,
    CpuStatus,
    InferenceServiceStatus,
    LastDecision,
    ModelStatus,
)
from corefit_core.errors import InvalidInput
from corefit_core.figures import figure
from corefit_core.quantity import format_millicores
from corefit_core.recommender import Decision
from corefit_core.spec.serving_spec import ServingSpec
from corefit_operator.diagnosis.condition import ConditionValue
from corefit_operator.diagnosis.problem import printable
from corefit_operator.kube import pod_cpu
from corefit_operator.resize import sizes
from corefit_operator.status import cost, plan, routing
from corefit_operator.status.conditions import table
from corefit_operator.status.outcome import Outcome
from corefit_operator.workload.interface import Workload
from corefit_operator.workload.observe import Observed

URI_MAX: Final = 2048
REVISION_MAX: Final = 256
"""Characters that the schema takes: pods of others, and processes that were taken over, say what they like."""
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


def of(workload: Workload, outcome: Outcome, before: InferenceServiceStatus, now: str) -> InferenceServiceStatus:
    """The status of a resource that can be read."""
    spec, observed, decision = workload.spec, outcome.observed, outcome.decision
    desired, values = outcome.scaled.desired, table.of(spec, outcome)
    found = observed.workload
    return InferenceServiceStatus(
        observed_generation=spec.generation,
        replicas=len(observed.pods),
        ready=f"{observed.ready}/{desired}",
        state=table.state(values),
        ready_replicas=observed.ready,
        desired_replicas=desired,
        sidecar=found.sidecar or UNSET,
        stale_replicas=UNSET if found.stale is None else found.stale,
        recommended_replicas=decision.replicas if decision else UNSET,
        selector=",".join(f"{label}={value}" for label, value in workload.selector.items()),
        model=_model(spec, observed),
        plan=plan.of(spec.plan, observed),
        cpu=_cpu(spec, outcome),
        balancing=_balancing(outcome),
        routing=routing.of(spec, outcome),
        latency=_latency(spec, decision),
        cost_per_hour=f"{cost.per_hour(spec, observed.pods, outcome.balancers):.4f} {spec.policy.price.currency}",
        last_decision=_last_decision(decision, before.last_decision, now),
        conditions=_stamped(before, spec.generation, now, values),
    )


def of_unreadable(
    error: InvalidInput, generation: int, before: InferenceServiceStatus, now: str
) -> InferenceServiceStatus:
    """The status of a resource that can't be read: what was there stays, the conditions say what is wrong."""
    remembered = {
        c.type: ConditionValue(c.type, c.status, c.reason, c.message)
        for c in before.conditions
        if c.type in table.REMEMBERED
    }
    values = [remembered.pop(value.type, value) for value in table.unreadable(error)] + [*remembered.values()]
    stamped = _stamped(before, generation, now, values)
    return msgspec.structs.replace(
        before, observed_generation=generation, state=table.state(values), conditions=stamped
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
    kept = tuple(_without_figures(condition) for condition in status.conditions)
    made = status.last_decision
    if made is not UNSET:
        made = LastDecision(time="", replicas=made.replicas, cpu=made.cpu, reason="", message="")
    routed = status.routing
    if routed is not UNSET:
        routed = msgspec.structs.replace(routed, saves="", takes="", reason="", message="")
    return msgspec.structs.replace(
        status,
        routing=routed,
        latency=UNSET,
        cost_per_hour=UNSET,
        recommended_replicas=UNSET,
        plan=UNSET,
        last_decision=made,
        conditions=kept,
    )


def _without_figures(condition: Condition) -> Condition:
    if condition.type not in table.FOLLOW_MEASUREMENTS:
        return condition
    return msgspec.structs.replace(condition, reason="", message="", last_transition_time="")


def _stamped(
    before: InferenceServiceStatus, generation: int, now: str, values: list[ConditionValue]
) -> tuple[Condition, ...]:
    since = {(c.type, c.status): c.last_transition_time for c in before.conditions}
    return tuple(
        Condition(
            type=value.type,
            status=value.status,
            observed_generation=generation,
            last_transition_time=since.get((value.type, value.status), now),
            reason=value.reason,
            message=value.message,
        )
        for value in values
    )


def _cpu(spec: ServingSpec, outcome: Outcome) -> CpuStatus:
    """CPU of the pods, whether it may be changed in place or not."""
    if outcome.cpu is not None:
        wanted, granted = outcome.cpu.wanted, outcome.cpu.granted
    else:
        ready = (pod for pod in outcome.observed.pods if pod.ready)
        wanted, granted = spec.millicores, tuple(pod_cpu.requested(pod) for pod in ready)
    return CpuStatus(wanted=format_millicores(wanted), granted=sizes.span_text(granted))


def _balancing(outcome: Outcome) -> Balances | UnsetType:
    if outcome.balancing is None:
        return UNSET
    return "Queue" if outcome.balancing.queue else "Direct"


def _model(spec: ServingSpec, observed: Observed) -> ModelStatus | UnsetType:
    """The model of most of the ready pods: during a rollout, and when one is stuck, not the one that spec names."""
    ready = [pod for pod in observed.pods if pod.ready]
    if not ready:
        return UNSET
    (uri, revision), _ = Counter((pod.model_uri, pod.model_revision) for pod in ready).most_common(1)[0]
    target = observed.workload.scale_target
    if not uri and target is not None and target.rolling_out:
        return UNSET  # pods of a version of the operator that did not say it
    serving = (pod.metadata.uid for pod in ready if (pod.model_uri, pod.model_revision) == (uri, revision))
    reports = (observed.reports.get(uid) for uid in serving)
    sums = {report.model.sha256 for report in reports if report is not None}
    return ModelStatus(
        uri=printable(uri or spec.model.source_uri)[:URI_MAX],
        revision=printable(revision)[:REVISION_MAX] or UNSET,
        sha256=sums.pop() if len(sums) == 1 and all(map(_SHA256.fullmatch, sums)) else UNSET,
    )


def _latency(spec: ServingSpec, decision: Decision | None) -> str | UnsetType:
    if decision is None or decision.latency_s is None:
        return UNSET
    objective = spec.objective
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
        message=decision.message[: plan.WHY_MAX],
    )
    if before is not UNSET and _decided(before) == _decided(new):
        return msgspec.structs.replace(new, time=before.time)
    return new


def _decided(made: LastDecision) -> tuple[object, ...]:
    return made.replicas, made.cpu, made.reason
