"""Converts busy time of pods whose CPU quota is smaller than their workers into workers at full speed.

A worker that the quota stops is busy, and does nothing. A pod that is idle between requests is hardly ever stopped, a
full one for most of the time: busy time grows from a share L/W of what the work takes of the pod to all of it, so that
the same growth of load looks steeper the nearer it comes. What the work takes of the quota is its CPU.

Busy time never says more than that where the quota is delivered: within a period a pod has at every moment done as
much of what had come as one that runs at L/W of the speed all the time, so it is busy no longer. Where it does say
more, the node gives less than it granted, and busy time is what a pod can carry. May not decide anything.
"""

from typing import Final

import msgspec

from corefit_core.recommender.counters import Totals
from corefit_core.report import PlanInForce

CORE: Final = 1000
"""Millicores."""


def effective_workers(plan: PlanInForce) -> float:
    """How many of the pod's workers can compute at once at full speed, by the CPU that the process found granted."""
    workers, millicores, threads = plan.workers, plan.grant_millicores, plan.threads_per_worker or 1
    return workers if not 0 < millicores < CORE * workers * threads else millicores / CORE / threads


def at_full_speed(delta: Totals, plan: PlanInForce) -> Totals:
    """The difference with the times that its work would have taken workers at full speed.

    Nothing is said of what is late by itself: at full speed it may not be.
    """
    at_once = effective_workers(plan)
    if at_once >= plan.workers or delta.busy_s <= 0:
        return delta
    share = at_once / plan.workers
    work_s = max(delta.busy_s * share, delta.cpu_s / max(1, plan.threads_per_worker))
    speed = work_s / delta.busy_s
    served_s = delta.served_s * speed
    return msgspec.structs.replace(
        delta, busy_s=work_s, served_s=served_s, served_sq_s2=_squares(delta, served_s), alone=0.0
    )


def _squares(delta: Totals, served_s: float) -> float:
    """The squares of service times that add up to so much, as they vary by the threads' own clocks.

    Those of the clock on the wall vary by the stalls as well, and each run is taken to be stalled all the time already.
    """
    alike = delta.served_sq_s2, delta.served_s
    squares, seconds = (delta.computed_sq_s2, delta.computed_s) if delta.computed_s > 0 else alike
    return squares * (served_s / seconds) ** 2 if seconds > 0 else 0.0
