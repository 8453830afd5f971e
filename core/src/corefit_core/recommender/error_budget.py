"""How many requests may miss the objective from now on, by how it was kept lately.

An objective of 99 % that is kept at 99.99 % is money: Corefit spends the part of the error budget that is left, and
makes good what was overspent. May not choose replicas.
"""

import math
from typing import Final

import msgspec

from corefit_core.recommender import spans
from corefit_core.recommender.types import Policy

LEAST: Final = 0.25
"""However many were missed, so much of the objective stays allowed: past that, pods buy almost nothing."""
MOST: Final = 4.0
"""However few were missed, no more than so many times what the objective allows is planned. The formulas know steady
load: by them a queue that is overrun for seconds has filled, and a load that is at its highest for a moment is all
pods' load for good."""
GAIN: Final = 2 * MOST
"""By how much the target moves with what is left of the error budget, or was overspent: three eighths of it, once that
is sure, to the most; so that a load that stays comes to rest there instead of nearing it for ever."""
LUMPS: Final = 10.0
"""Start-ups after which half of that is done: misses come in lumps of a start-up, and ten tell a share to a third."""
LASTS_S: Final = 1800.0
"""Seconds that the rest of the error budget must last for a number of pods that misses more than the objective: half an
hour in which Corefit does not come back from it. Two changes an hour are what steady load may take; and load that has
fallen is served at the price of its own few requests, for which the budget of many lasts long."""
STAY: Final = 1.0
"""Pods by which, as a share of all, the target may be exceeded before one more is asked for. Else one too many and one
too few, whose misses lie on either side of the target, would alternate where they are one and two."""


class Served(msgspec.Struct, frozen=True, kw_only=True):
    """How the objective was kept lately: requests, those that missed it, and over how many seconds, as fading sums."""

    requests: float = 0.0
    missed: float = 0.0
    seconds: float = 0.0


def allowed(policy: Policy) -> float:
    """The error budget: the share of requests that the objective allows to miss it."""
    return max(0.0, 1 - policy.objective.percentile / 100)


def left(policy: Policy, served: Served) -> float:
    """The rest of the error budget, in requests; below zero it is overspent."""
    return allowed(policy) * served.requests - served.missed


def even_after_s(policy: Policy, served: Served, rate: float) -> float:
    """Seconds at most until an overspent budget is even, if no more miss the objective than the least target plans.

    The sums halve in `spans.MEMORY_S`, while requests fill them up to `rate` times its mean age.

    Args:
        policy: has the objective.
        served: how it was kept lately.
        rate: requests a second now.
    """
    filling = (1 - LEAST) * allowed(policy) * rate * spans.MEMORY_S / math.log(2)
    overspent = max(0.0, -left(policy, served))
    return spans.MEMORY_S * math.log2(1 + overspent / filling) if filling > 0 else math.inf


def target(policy: Policy, served: Served, horizon_s: float) -> float:
    """The share that is planned to miss it from now on, the more by what is left over the longer that is known.

    Before anything is known it is what the objective allows.

    Args:
        policy: has the objective.
        served: how it was kept lately.
        horizon_s: seconds from a decision until what it asks for serves.
    """
    budget = allowed(policy)
    if served.requests <= 0:
        return budget
    spare = left(policy, served) / served.requests
    lumps = served.seconds / max(policy.round_s, horizon_s)
    return min(MOST * budget, max(LEAST * budget, budget + GAIN * spare * lumps / (lumps + LUMPS)))


def scale_down_target(policy: Policy, served: Served, horizon_s: float, rate: float) -> float:
    """The share to go down to: of the target, no more than the rest of the error budget pays for long enough.

    Args:
        policy: has the objective.
        served: how it was kept lately.
        horizon_s: seconds from a decision until what it asks for serves.
        rate: requests a second now.
    """
    budget = allowed(policy)
    rest, coming = max(0.0, left(policy, served)), rate * LASTS_S
    most = target(policy, served, horizon_s)
    return min(most, budget + rest / coming) if coming > 0 else most


def scale_up_target(policy: Policy, served: Served, horizon_s: float, replicas: int) -> float:
    """The share to put up with before more than these replicas are asked for."""
    most = MOST * allowed(policy)
    return min(most, (1 + STAY / max(1, replicas)) * target(policy, served, horizon_s))
