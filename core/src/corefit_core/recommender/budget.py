"""How many requests may miss the objective from now on, by how it was kept lately.

An objective of 99 % that is kept at 99.99 % is money: the slack is spent, and what was overspent made good. May not
choose replicas.
"""

from typing import Final

from corefit_core.recommender.state import Served
from corefit_core.recommender.types import Policy

SPENT: Final = 0.5
"""Of the misses that the objective allows, what is planned to be spent: the rest is for what was never seen."""
LEAST: Final = 0.25
"""However many were missed, so much of the plan stays allowed: past that, pods buy almost nothing."""
MOST: Final = 4.0
"""However few were missed, no more than so many times what the objective allows is planned. The formulas know steady
load: by them a queue that is overrun for seconds has filled, and a load that is at its highest for a moment is all
pods' load for good. On the synthetic families the misses that come are a tenth to a quarter of those expected."""
GAIN: Final = 2 * MOST
"""By how much the plan moves with what is left over of it: with no miss at all to the most, once that is sure to seven
eighths, so that a load that stays comes to rest at it instead of nearing it for ever."""
LUMPS: Final = 10.0
"""Start-ups after which half of that is done: misses come in lumps of a start-up, and ten tell a share to a third."""
STAY: Final = 1.0
"""Pods by which, as a share of all, the plan may be exceeded before one more is asked for. Else one too many and one
too few, whose misses lie on either side of the plan, would alternate where they are one and two."""


def objective(policy: Policy) -> float:
    """The share of requests that the objective allows to miss it."""
    return max(0.0, 1 - policy.objective.percentile / 100)


def target(policy: Policy) -> float:
    """The share that is planned to miss it before anything is known."""
    return SPENT * objective(policy)


def planned(policy: Policy, served: Served, ahead_s: float) -> float:
    """The share that is planned to miss it from now on, the more by what was left over the longer that is known.

    Args:
        policy: has the objective.
        served: how it was kept lately.
        ahead_s: seconds from a decision until what it asks for serves.
    """
    plan, most = target(policy), objective(policy)
    if served.requests <= 0:
        return plan
    share = served.missed / served.requests
    # Between what is planned and what the objective allows there is nothing to make good.
    left = plan - share if share < plan else min(0.0, most - share)
    lumps = served.seconds / max(policy.round_s, ahead_s)
    return min(MOST * most, max(LEAST * plan, plan + GAIN * left * lumps / (lumps + LUMPS)))


def sustained(policy: Policy, served: Served, ahead_s: float) -> float:
    """The share to go down to: of what is planned, no more than could be missed for ever.

    A number of pods that only what was left over pays for would have to be left again.
    """
    return min(objective(policy), planned(policy, served, ahead_s))


def allowed(policy: Policy, served: Served, ahead_s: float, replicas: int) -> float:
    """The share to put up with before more than these replicas are asked for."""
    most = MOST * objective(policy)
    return min(most, (1 + STAY / max(1, replicas)) * planned(policy, served, ahead_s))
