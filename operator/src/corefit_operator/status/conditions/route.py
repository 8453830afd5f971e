"""RouteReady: whether requests come by the Gateways that the resource names, and why they don't. Pure."""

from typing import Final

from corefit_core.spec.serving_spec import ServingSpec
from corefit_operator.diagnosis.condition import ConditionValue
from corefit_operator.gateway import routed
from corefit_operator.status.conditions.condition_type import ConditionType
from corefit_operator.status.outcome import Outcome


def _value(_: ServingSpec, outcome: Outcome) -> ConditionValue | None:
    route = outcome.route
    if route is None:
        return None
    return ConditionValue("RouteReady", "True" if route.ready else "False", route.reason, route.message)


ROUTE_READY: Final = ConditionType(
    type="RouteReady", value=_value, reasons=routed.REASONS, from_problems=True, remembered=True
)
