"""What the conditions of a resource say of its pods. Pure; a condition says no more than was found.

Each message is for a person who has read none of the documentation: what is the case, and what to do about it.
"""

from typing import Final

from corefit_core.api.status import PlanStatus
from corefit_core.burst import Verdict
from corefit_core.figures import figure, milliseconds
from corefit_core.quantity import format_millicores
from corefit_core.service import Service
from corefit_operator.resize import sizes
from corefit_operator.resize.sizes import Sized
from corefit_operator.status import target_conditions
from corefit_operator.status.result import Result
from corefit_operator.status.target_conditions import ConditionValue

_HOLDING: Final = frozenset({"NoReports", "StaleReports"})
"""Decisions that are none: the recommender doesn't know and therefore holds."""
_WAITING: Final = _HOLDING | {"RolloutInProgress"}
"""Decisions that wait for pods; a problem of these says more."""
_NOTE_MAX: Final = 400
_UPGRADE_PENDING: Final = (
    "All replicas run the current spec. The operator has a newer pod template, since it was upgraded or configured "
    "anew. It rolls out a few resources at a time, and this one waits for its turn."
)


def of_pods(service: Service, found: Result) -> list[ConditionValue]:
    """Ready, Progressing, and what else there is to say of the pods."""
    around, trouble = found.beside, found.refused or found.problem
    if around is None:
        return [_ready(service, found), _progressing(found)]
    present = len(found.pods)
    return [
        target_conditions.ready(service, found.ready, present, trouble),
        target_conditions.progressing(around, present, trouble),
        target_conditions.injectable(around),
    ]


def state(statements: list[ConditionValue]) -> str:
    """One word for `kubectl get`: what keeps a rollout from going on before what goes on, and that before Serving."""
    by_type = {type_: (status, reason) for type_, status, reason, _ in statements}
    progressing = by_type["Progressing"]
    return by_type["Ready"][1] if progressing == ("True", "Complete") else progressing[1]


def unreadable(error: Exception) -> tuple[str, str, str]:
    """Status, reason and message where the spec can't be read."""
    return "False", "InvalidSpec", f"{error}. Correct the spec; until then Corefit leaves the pods as they are."


def sized(plan: PlanStatus) -> ConditionValue:
    """The condition Sized: the plan that the status names, and no other."""
    return "Sized", "True", "Planned", plan.why


def scaling_active(service: Service, found: Result) -> ConditionValue:
    """The condition ScalingActive."""
    decision = found.decision
    hindered = target_conditions.not_scaling(service, found.beside) if found.beside else None
    if hindered is not None:
        return hindered
    others = f" {contended(service, found)}" if found.contended and service.mode != "Recommend" else ""
    if service.mode == "Manual":
        return "ScalingActive", "False", "Manual", f"{_manual(service)}{others}"
    if service.mode == "Recommend":
        return "ScalingActive", "False", "RecommendOnly", _recommended(found)
    trouble = found.refused or found.problem
    if trouble is not None and (decision is None or decision.reason in _WAITING):
        return (
            "ScalingActive",
            "False",
            trouble.reason,
            f"Corefit does not scale until this is solved: {trouble.message}",
        )
    if decision is None:
        return "ScalingActive", "Unknown", "NotDecided", "Corefit decides when the first pod has reported."
    active = "False" if decision.reason in _HOLDING else "True"
    return "ScalingActive", active, decision.reason, f"{decision.message}{'.' if others else ''}{others}"


def of_objective(service: Service, found: Result) -> list[ConditionValue]:
    """The conditions ObjectiveMet and ObjectiveReachable."""
    wanted, decision = service.objective, found.decision
    limit = milliseconds(wanted.latency_s)
    kept = f"p{figure(wanted.percentile, 6)} within {limit}"
    if decision is None or decision.missed is None:
        unknown = f"No requests lately, so it is not known whether {kept} is kept."
        return [("ObjectiveMet", "Unknown", "NoRequests", unknown), _reachable(found, kept)]
    allowed = max(0.0, 100 - wanted.percentile)
    late = f"{figure(100 * decision.missed, 2)} % of the last minute's requests were refused or took more than"
    figures = f"{late} {limit}; the objective allows {figure(allowed, 4)} %."
    met = 100 * decision.missed <= allowed
    said = ("True", "Met", figures) if met else ("False", "Missed", figures)
    return [("ObjectiveMet", *said), _reachable(found, kept)]


def _reachable(found: Result, kept: str) -> ConditionValue:
    decision = found.decision
    if decision is not None and decision.unreachable:
        return "ObjectiveReachable", "False", "TooShort", decision.unreachable
    if decision is None or decision.reason == "NoReports" or not found.ready:
        return "ObjectiveReachable", "Unknown", "NotMeasured", "Corefit has not measured the model yet."
    return "ObjectiveReachable", "True", "Reachable", f"Nothing is known that keeps pods from {kept}."


def resized(cpu: Sized) -> ConditionValue:
    """The condition Resized."""
    if cpu.problem is not None:
        return "Resized", "False", cpu.problem.reason, cpu.problem.message
    if cpu.waiting:
        return "Resized", "Unknown", "InProgress", f"{_pods(cpu.waiting)} for a change of CPU."
    if not cpu.granted:
        return "Resized", "True", "AsWanted", "No pod serves yet; a pod gets its CPU when it is ready."
    each = sizes.span_text(cpu.granted)
    return "Resized", "True", "AsWanted", f"Every serving pod has the CPU that Corefit wants for it ({each})."


def burst(seen: Verdict) -> ConditionValue:
    """The condition Burst."""
    if seen.lending == "NotNeeded":
        return "Burst", "Unknown", "NotNeeded", "Pods wanted no more CPU than they request, so nothing was learnt."
    lent = f"Pods used {seen.lent_cores:.1f} cores beyond their requests"
    if seen.lending == "Available":
        return "Burst", "True", "CPUAvailable", f"{lent}: their nodes have CPU idle."
    kept = f"{lent}, and were kept from {seen.short_cores:.1f} more: others use their nodes."
    return "Burst", "False", "CPUScarce", f"{kept} Raise resources.cpu, or set growth to Resize."


def _ready(service: Service, found: Result) -> ConditionValue:
    if found.serving:
        return (
            "Ready",
            "True",
            "Serving",
            f"{found.serving} of {found.desired} replicas serve requests.{_left_out(found)}",
        )
    trouble = found.refused or found.problem
    if trouble:
        return "Ready", "False", trouble.reason, trouble.message
    if found.deployment is None:
        return "Ready", "False", "Starting", "Corefit has yet to create the Deployment."
    if found.desired == 0:
        return "Ready", "False", "ScaledToZero", _at_zero(service)
    return "Ready", "False", "Starting", "No pod is ready yet. A pod loads its model and runs it once before it is."


def _left_out(found: Result) -> str:
    """Outputs that the model has and answers don't, as the first pod that reports any says it."""
    notes = (report.notes.get("outputs", "") for report in found.reports.values())
    note = next(filter(None, notes), "")
    return f" Some outputs are {note[:_NOTE_MAX]}." if note else ""


def _at_zero(service: Service) -> str:
    if service.mode == "Recommend":
        return (
            "The Deployment has 0 replicas, and mode Recommend leaves them. Set spec.scaling.mode to Auto to scale it."
        )
    return "spec.scaling.replicas is 0, so no pod runs. Set it to 1 or more to serve requests."


def _progressing(found: Result) -> ConditionValue:
    trouble, deployment = found.refused or found.problem, found.deployment
    rolling = deployment is not None and deployment.rolling_out
    complete = deployment is not None and not rolling and found.serving >= found.desired
    if complete and found.upgrade_waits:
        return "Progressing", "True", "UpgradePending", _UPGRADE_PENDING
    if complete and not found.refused:
        return "Progressing", "True", "Complete", _complete(found.desired)
    if trouble:
        return "Progressing", "False", trouble.reason, f"{trouble.message}{_goes_on(found, rolling=rolling)}"
    if deployment is not None and rolling:
        state = deployment.status
        older = max(0, state.replicas - state.updated_replicas)
        new = min(state.updated_replicas, max(0, found.ready - older))
        serve = "; the older pods serve until the new ones are ready" if older else ""
        rest = f"{new} of {found.desired} replicas of the new spec are ready{serve}."
        return "Progressing", "True", "RollingOut", rest
    return "Progressing", "True", "Starting", f"{found.ready} of {found.desired} replicas are ready."


def _complete(replicas: int) -> str:
    if replicas == 0:
        return "No replica is wanted, and none runs."
    return "The replica runs the current spec." if replicas == 1 else f"All {replicas} replicas run the current spec."


def _goes_on(found: Result, *, rolling: bool) -> str:
    """What serves although something is wrong."""
    if not found.serving:
        return ""
    if rolling:
        return " The pods of the previous spec go on serving."
    return f" {found.serving} of {found.desired} replicas go on serving."


def contended(service: Service, found: Result) -> str:
    """That somebody else changed the replicas, what becomes of them, and what to do about it."""
    kind = found.deployment.kind if found.deployment is not None else ""
    changed = f"Something else changed the replicas of the {kind or 'Deployment'}"
    if service.mode == "Manual":
        mend = (
            f"Scale this InferenceService instead: kubectl scale cfis/{service.name} --replicas=N, or an autoscaler "
            "whose scaleTargetRef names it."
        )
    else:
        mend = (
            "Delete the autoscaler or script that does it. To scale by hand, set spec.scaling.mode of this "
            "InferenceService to Manual and spec.scaling.replicas to the number that you want, in one change."
        )
    if found.changed_back:
        return f"{changed}, and Corefit changed them back. {mend}"
    if service.mode == "Manual":
        return f"{changed}. {mend}"
    window_s = service.policy.down_window_s
    span = "a minute, or two start-ups of a pod if that is longer" if window_s is None else f"{figure(window_s, 6)} s"
    return f"{changed}. Corefit will let replicas that the load does not need go within {span}. {mend}"


def _manual(service: Service) -> str:
    return (
        f"In mode Manual the number of replicas is spec.scaling.replicas ({service.manual_replicas}). "
        "Set spec.scaling.mode to Auto to let Corefit scale."
    )


def _recommended(found: Result) -> str:
    apply = "Set spec.scaling.mode to Auto to apply what Corefit recommends."
    decision = found.decision
    if decision is None:
        return f"In mode Recommend Corefit changes nothing, and it has no recommendation yet. {apply}"
    cpu = f" with {format_millicores(decision.millicores)} of CPU each" if decision.millicores is not None else ""
    replicas = f"{decision.replicas} replica{'s' * (decision.replicas != 1)}{cpu}"
    return f"In mode Recommend Corefit changes nothing. It recommends {replicas}: {decision.message}. {apply}"


def _pods(count: int) -> str:
    return "1 pod waits" if count == 1 else f"{count} pods wait"
