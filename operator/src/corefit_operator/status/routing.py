"""What the status says of one queue in front of all pods: what it saves, what it takes, and what follows. Pure."""

from typing import Final

from msgspec import UNSET, UnsetType

from corefit_core.api.status import RoutingStatus
from corefit_core.quantity import format_millicores
from corefit_core.recommender.routing import WORTH
from corefit_core.spec.serving_spec import ServingSpec
from corefit_operator.balancer.manifests import TAKEN
from corefit_operator.status.outcome import Outcome

REASONS: Final = {
    "Saves": "one queue saves more CPU than its balancer takes",
    "SavesTooLittle": "it does not, or not by enough yet",
    "ReplicasByHand": "the mode is Manual, so the number of pods does not follow the load",
    "Application": "the pods run an application too, which may speak what a balancer does not expect",
}
"""Of `status.routing`, and when each is said."""


def of(spec: ServingSpec, outcome: Outcome) -> RoutingStatus | UnsetType:
    """What one queue saves; nothing for a resource without children."""
    if outcome.balancing is None:
        return UNSET
    queue, saved = outcome.routing.queue and spec.may_have_queue, outcome.routing.saved if spec.may_have_queue else 0
    reason = _reason(spec, queue=queue)
    return RoutingStatus(
        recommended="Queue" if queue else "Direct",
        saves=format_millicores(saved),
        takes=format_millicores(TAKEN.millicores),
        reason=reason,
        message=_message(spec, reason, saved, there=outcome.balancing.queue),
    )


def _reason(spec: ServingSpec, *, queue: bool) -> str:
    if not spec.may_have_queue:
        return "Application"
    if spec.mode == "Manual":
        return "ReplicasByHand"
    return "Saves" if queue else "SavesTooLittle"


def _message(spec: ServingSpec, reason: str, saved: int, *, there: bool) -> str:
    if reason == "Application":
        return "The pods run an application, which may speak a protocol that a balancer does not expect."
    if reason == "ReplicasByHand":
        return "In mode Manual the number of pods does not follow the load, so one queue saves none of them."
    cpu = f"{saved}m of CPU" if saved else "no CPU"
    saves, takes = ("saves", "takes") if there else ("would save", "would take")
    figures = (
        f"One queue in front of all pods {saves} {cpu} at this load, and its balancer {takes} {TAKEN.millicores}m."
    )
    return f"{figures} {_next(spec, reason)}".rstrip()


def _next(spec: ServingSpec, reason: str) -> str:
    """What follows from it, or what to do about it."""
    most = round(WORTH * TAKEN.millicores)
    match spec.balancing, reason:
        case "Direct", "Saves":
            return "To use it, set spec.routing.balancing to Auto."
        case "Queue", "SavesTooLittle":
            return "To use it only while it saves more, set spec.routing.balancing to Auto."
        case "Auto", _ if spec.mode == "Recommend":
            return "In mode Recommend Corefit leaves the balancer as it is."
        case "Auto", "Saves":
            return f"Corefit takes the balancer away once it has saved less than {TAKEN.millicores}m for long."
        case "Auto", _:
            return f"Corefit adds the balancer once that is {most}m or more for a minute."
        case _:
            return ""
