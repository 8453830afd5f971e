"""BalancerReady: whether requests go through the balancer, and why they don't. Pure."""

from typing import Final

from corefit_core.spec.serving_spec import ServingSpec
from corefit_operator.balancer import balancing
from corefit_operator.diagnosis.condition import ConditionValue
from corefit_operator.status.conditions.condition_type import ConditionType
from corefit_operator.status.outcome import Outcome


def _value(_: ServingSpec, outcome: Outcome) -> ConditionValue | None:
    current = outcome.balancing
    if current is None or not current.reason:
        return None
    return ConditionValue("BalancerReady", "True" if current.queue else "False", current.reason, current.message)


BALANCER_READY: Final = ConditionType(type="BalancerReady", value=_value, reasons=balancing.REASONS, from_problems=True)
