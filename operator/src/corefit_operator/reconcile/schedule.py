"""When a resource is looked at again. Pure."""

from typing import Final

from corefit_core.spec.serving_spec import ServingSpec
from corefit_operator.status.outcome import Outcome

IDLE_S: Final = 10.0
"""Seconds between two looks at a resource of mode Sidecar without pods and without a workload to scale: the first pod
wakes it, so that only a workload which comes, or begins to consent, is seen so late."""
VERTICAL_ROUND_S: Final = 1.0
"""Seconds between two looks at pods that may be grown in place: a resize takes a tenth of that, so a longer round would
be most of the answer's delay; a shorter one sees too few requests to tell a step from chance."""


def round_s(spec: ServingSpec, ordinary_s: float) -> float:
    """Seconds between two looks at the reports of a resource's pods."""
    return ordinary_s if spec.policy.cpu_range is None else min(ordinary_s, VERTICAL_ROUND_S)


def again_s(spec: ServingSpec, outcome: Outcome, ordinary_s: float) -> float:
    """Seconds until the resource is to be looked at again."""
    present, route_s = len(outcome.observed.pods), outcome.route.retry_s if outcome.route is not None else None
    retries = [seconds for seconds in (outcome.children.retry_s, route_s) if seconds is not None]
    if outcome.children.refused and not present and outcome.children.retry_s is not None:
        return min(retries)
    idle = outcome.observed.workload.is_idle(present)
    next_s = IDLE_S if idle else round_s(spec, ordinary_s)
    return min([next_s, *retries])
