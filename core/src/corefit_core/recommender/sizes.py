"""Sizes that a pod may be given, and the workers in each: steps as coarse as the load is known.

May not know of load, nodes or pods.
"""

import bisect
from typing import Final, NamedTuple

from corefit_core import sizing
from corefit_core.recommender import queueing
from corefit_core.recommender.quota import CORE
from corefit_core.recommender.types import CpuRange, Policy

GROWTH: Final = 0.1
"""Each size over the one before. A load of fifty requests a second is known to 6 % after five seconds, one of twenty
to 10 %: finer sizes would be told apart by chance. On average a pod has half a step more than it needs, 5 %."""
READABLE: Final = 10
"""Millicores: sizes are multiples of it. A tenth of the smallest pod (`sizing.MIN_MILLICORES`)."""


class Workers(NamedTuple):
    """Workers of a pod or of several: those that can compute at once at full speed, and those that run."""

    effective: float
    running: int | float


class Sizes(NamedTuple):
    """Sizes that are worth having, ascending, and the workers of a pod in each."""

    millicores: tuple[int, ...]
    workers: tuple[Workers, ...]

    def of(self, millicores: float) -> Workers:
        """Workers of a pod that is granted so much: those of the next smaller size worth having."""
        index = bisect.bisect_right(self.millicores, millicores) - 1
        least = self.workers[0]
        return (
            self.workers[index]
            if index >= 0
            else Workers(least.effective * millicores / self.millicores[0], least.running)
        )


def worth(policy: Policy, span: CpuRange, model: queueing.Service, threads: int) -> Sizes:
    """The sizes of the range in which more workers compute at once than in the next smaller one.

    A fraction of a core is worth having where the plan rounds it up: where the stall that throttling makes is small
    against what the objective leaves for waiting. Rounded down, it would lie idle.
    """
    millicores: list[int] = []
    workers: list[Workers] = []
    for size in _steps(span):
        cores = sizing.whole_cores(size, policy.objective.latency_s, model.service_s)[0]
        run = max(1, cores // threads)
        effective = min(run, size / 1000 / threads)
        if not workers or effective > workers[-1].effective + 1e-9:
            millicores.append(size)
            workers.append(Workers(effective, run))
    return Sizes(tuple(millicores), tuple(workers))


def _steps(span: CpuRange) -> list[int]:
    """Both ends of the range, and what lies between: each step a tenth, and whole cores, which are never throttled."""
    low, high = max(1, span.min_millicores), max(1, span.min_millicores, span.max_millicores)
    steps, size = {low, high}, low
    while size < high:
        steps.add(size)
        size = _above(size)
    return sorted(steps)


def _above(size: int) -> int:
    """The next size: a tenth more, or the whole core before that, which any objective can use."""
    more = READABLE * max(size // READABLE + 1, round(size * (1 + GROWTH) / READABLE))
    cores = more // CORE * CORE
    return cores if cores > size else more
