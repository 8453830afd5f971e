"""How many requests may miss the objective from now on, by how it was kept lately.

An objective of 99 % that is kept at 99.99 % is money: the slack is spent, and what was overspent made good. May not
choose replicas.
"""

from typing import Final

from corefit_core.recommender.state import Served
from corefit_core.recommender.types import Policy

LEAST: Final = 0.25
"""However many were missed, so much of the objective stays allowed: past that, pods buy almost nothing."""
MOST: Final = 4.0
"""However few were missed, no more than so many times what the objective allows is planned. The formulas know steady
load: by them a queue that is overrun for seconds has filled, and a load that is at its highest for a moment is all
pods' load for good."""
GAIN: Final = 2 * MOST
"""By how much the plan moves with what is left over of the objective, or was overspent: three eighths of it, once that
is sure, to the most; so that a load that stays comes to rest there instead of nearing it for ever."""
LUMPS: Final = 10.0
"""Start-ups after which half of that is done: misses come in lumps of a start-up, and ten tell a share to a third."""
LASTS_S: Final = 1800.0
"""Seconds that what is left over must last for a number of pods that misses more than the objective: half an hour in
which it is not come back from. Two changes an hour are what steady load may take; and load that has fallen is served at
the price of its own few requests, of which what was left over by many pays for plenty."""
STAY: Final = 1.0
"""Pods by which, as a share of all, the plan may be exceeded before one more is asked for. Else one too many and one
too few, whose misses lie on either side of the plan, would alternate where they are one and two."""


def objective(policy: Policy) -> float:
    """The share of requests that the objective allows to miss it."""
    return max(0.0, 1 - policy.objective.percentile / 100)


def planned(policy: Policy, served: Served, ahead_s: float) -> float:
    """The share that is planned to miss it from now on, the more by what was left over the longer that is known.

    Before anything is known it is what the objective allows.

    Args:
        policy: has the objective.
        served: how it was kept lately.
        ahead_s: seconds from a decision until what it asks for serves.
    """
    aim = objective(policy)
    if served.requests <= 0:
        return aim
    left = aim - served.missed / served.requests
    lumps = served.seconds / max(policy.round_s, ahead_s)
    return min(MOST * aim, max(LEAST * aim, aim + GAIN * left * lumps / (lumps + LUMPS)))


def sustained(policy: Policy, served: Served, ahead_s: float, rate: float) -> float:
    """The share to go down to: of what is planned, no more than what is left over pays for long enough at that rate.

    Args:
        policy: has the objective.
        served: how it was kept lately.
        ahead_s: seconds from a decision until what it asks for serves.
        rate: requests a second now.
    """
    aim = objective(policy)
    left, soon = max(0.0, aim * served.requests - served.missed), rate * LASTS_S
    most = planned(policy, served, ahead_s)
    return min(most, aim + left / soon) if soon > 0 else most


def allowed(policy: Policy, served: Served, ahead_s: float, replicas: int) -> float:
    """The share to put up with before more than these replicas are asked for."""
    most = MOST * objective(policy)
    return min(most, (1 + STAY / max(1, replicas)) * planned(policy, served, ahead_s))
