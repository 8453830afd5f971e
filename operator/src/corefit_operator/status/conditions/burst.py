"""Burst: whether nodes lend pods CPU beyond their requests. Pure."""

from typing import Final

from corefit_core.spec.serving_spec import ServingSpec
from corefit_operator.diagnosis.condition import ConditionValue
from corefit_operator.status.conditions.condition_type import ConditionType
from corefit_operator.status.outcome import Outcome


def _value(_: ServingSpec, outcome: Outcome) -> ConditionValue | None:
    seen = outcome.observed.burst
    if seen is None:
        return None
    if seen.lending == "NotNeeded":
        message = "No pod needed more CPU than it requests, so it is not known whether nodes have more."
        return ConditionValue("Burst", "Unknown", "NotNeeded", message)
    lent = f"Pods used {seen.lent_cores:.1f} cores more than they request"
    if seen.lending == "Available":
        return ConditionValue("Burst", "True", "CPUAvailable", f"{lent}, which were idle on their nodes.")
    kept = f"{lent} and needed {seen.short_cores:.1f} more, which other pods of their nodes used."
    return ConditionValue(
        "Burst", "False", "CPUScarce", f"{kept} Raise spec.resources.cpu, or set spec.resources.growth to Resize."
    )


BURST: Final = ConditionType(
    type="Burst",
    value=_value,
    reasons={
        "CPUAvailable": "nodes lend pods the CPU that they want beyond their requests",
        "CPUScarce": "others use that CPU",
        "NotNeeded": "pods wanted no more than they request",
    },
    follows_measurements=True,
)
