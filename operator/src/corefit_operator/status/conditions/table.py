"""The table of all conditions, and what a resource says by it. Pure; a condition says no more than was found."""

from collections.abc import Sequence
from typing import Final

from corefit_core.spec.serving_spec import ServingSpec
from corefit_operator.diagnosis.condition import ConditionValue
from corefit_operator.diagnosis.problem import described
from corefit_operator.status.conditions.balancer import BALANCER_READY
from corefit_operator.status.conditions.burst import BURST
from corefit_operator.status.conditions.condition_type import ConditionType
from corefit_operator.status.conditions.objective import OBJECTIVE_MET, OBJECTIVE_REACHABLE
from corefit_operator.status.conditions.pods import INJECTABLE, PROGRESSING, READY
from corefit_operator.status.conditions.resized import RESIZED
from corefit_operator.status.conditions.route import ROUTE_READY
from corefit_operator.status.conditions.scaling_active import SCALING_ACTIVE
from corefit_operator.status.conditions.sized import SIZED
from corefit_operator.status.outcome import Outcome

CONDITIONS: Final[tuple[ConditionType, ...]] = (
    READY,
    PROGRESSING,
    INJECTABLE,
    SIZED,
    SCALING_ACTIVE,
    OBJECTIVE_MET,
    OBJECTIVE_REACHABLE,
    BALANCER_READY,
    ROUTE_READY,
    RESIZED,
    BURST,
)
"""In the order in which a status has them."""
ANNOUNCED: Final = frozenset(row.type for row in CONDITIONS if row.announced)
REMEMBERED: Final = frozenset(row.type for row in CONDITIONS if row.remembered)
FOLLOW_MEASUREMENTS: Final = frozenset(row.type for row in CONDITIONS if row.follows_measurements)


def of(spec: ServingSpec, outcome: Outcome) -> list[ConditionValue]:
    """What the conditions say after a reconcile."""
    values = (row.value(spec, outcome) for row in CONDITIONS)
    return [value for value in values if value is not None]


def unreadable(error: Exception) -> list[ConditionValue]:
    """What the conditions say where the spec can't be read."""
    # It may name what the resource has in a place that the schema leaves open, of any length.
    problem = described("InvalidSpec", str(error), "Correct the spec; until then Corefit leaves the pods as they are.")
    return [ConditionValue(row.type, "False", problem.reason, problem.message) for row in CONDITIONS if row.unreadable]


def state(values: Sequence[ConditionValue]) -> str:
    """One word for `kubectl get`: what keeps a rollout from going on before what goes on, and that before Serving."""
    by_type = {value.type: value for value in values}
    progressing = by_type[PROGRESSING.type]
    return by_type[READY.type].reason if progressing[1:3] == ("True", "Complete") else progressing.reason
