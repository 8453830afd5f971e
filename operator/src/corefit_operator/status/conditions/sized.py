"""Sized: why pods have so many workers and threads and such a queue. Pure."""

from typing import Final

from corefit_core.spec.serving_spec import ServingSpec
from corefit_operator.diagnosis.condition import ConditionValue
from corefit_operator.status import plan
from corefit_operator.status.conditions.condition_type import ConditionType
from corefit_operator.status.outcome import Outcome


def _value(spec: ServingSpec, outcome: Outcome) -> ConditionValue:
    return ConditionValue("Sized", "True", "Planned", plan.of(spec.plan, outcome.observed).why)


SIZED: Final = ConditionType(
    type="Sized",
    value=_value,
    reasons={"Planned": "workers, threads and queue are known"},
    unreadable=True,
    follows_measurements=True,
)
