"""The texts of Events: what changed in a resource, for people. Pure. May not decide whether one is written."""

from collections.abc import Sequence
from typing import Final

from corefit_core.api.status import InferenceServiceStatus
from corefit_core.recommender import Decision
from corefit_core.spec.serving_spec import ServingSpec
from corefit_operator.resize import sizes
from corefit_operator.resize.sizes import Step
from corefit_operator.status.conditions import scaling_active, table
from corefit_operator.telemetry.recorder import Event

_EXPECTED: Final = ("Starting", "ScaledToZero")
"""Not serving yet, or no longer, as the spec wants it: nothing to warn of."""


def changes(before: InferenceServiceStatus, new: InferenceServiceStatus) -> list[Event]:
    """What conditions say newly, once for each reason."""
    known = {c.type: (c.status, c.reason) for c in before.conditions}
    changed = {
        c.reason: c for c in new.conditions if c.type in table.ANNOUNCED and known.get(c.type) != (c.status, c.reason)
    }
    return [
        Event(
            type="Warning" if c.status == "False" and c.reason not in _EXPECTED else "Normal",
            reason=c.reason,
            action="Reconcile",
            note=c.message,
        )
        for c in changed.values()
    ]


def ignored_replicas(spec: ServingSpec, before: InferenceServiceStatus) -> list[Event]:
    """What ScalingActive says of a number of replicas that the mode ignores, said once for each state of the spec."""
    note = scaling_active.ignored_replicas(spec)
    if not note or spec.generation == before.observed_generation:
        return []
    return [Event(reason="ReplicasIgnored", action="Reconcile", note=note)]


def resizes(steps: Sequence[Step], decision: Decision | None) -> list[Event]:
    """What is said of a round's resizes: one line, whatever the number of pods."""
    if not steps:
        return []
    before, after = (sizes.span_text([getattr(s, side) for s in steps]) for side in ("before", "millicores"))
    why = f": {decision.reason}: {decision.message}" if decision is not None else ""
    pods = "1 pod" if len(steps) == 1 else f"{len(steps)} pods"
    note = f"CPU of {pods} {before} -> {after}{why}"
    return [Event(reason="Resized", action="Resize", note=note)]
