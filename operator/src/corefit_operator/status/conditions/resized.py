"""Resized: whether pods have the CPU that Corefit wants for them. Pure."""

from typing import Final

from corefit_core.spec.serving_spec import ServingSpec
from corefit_operator.diagnosis.condition import ConditionValue
from corefit_operator.resize import sizes
from corefit_operator.status.conditions.condition_type import ConditionType
from corefit_operator.status.outcome import Outcome


def _value(_: ServingSpec, outcome: Outcome) -> ConditionValue | None:
    cpu = outcome.cpu
    if cpu is None:
        return None
    if cpu.problem is not None:
        return ConditionValue("Resized", "False", cpu.problem.reason, cpu.problem.message)
    if cpu.waiting:
        pods = "a pod" if cpu.waiting == 1 else f"{cpu.waiting} pods"
        message = f"Corefit has changed the CPU in the spec of {pods}, and the kubelet has yet to apply it."
        return ConditionValue("Resized", "Unknown", "InProgress", message)
    if not cpu.granted:
        message = "No pod is ready yet. Corefit sets the CPU of a pod once it is ready."
        return ConditionValue("Resized", "True", "AsWanted", message)
    message = f"Every serving pod has the CPU that Corefit wants for it ({sizes.span_text(cpu.granted)})."
    return ConditionValue("Resized", "True", "AsWanted", message)


RESIZED: Final = ConditionType(
    type="Resized",
    value=_value,
    reasons={
        "AsWanted": "every serving pod has the CPU that Corefit wants for it",
        "InProgress": "a change of CPU is not in force yet",
    },
    from_problems=True,
)
