"""Policies that know the trace, as bounds for the others: a constant, full foresight, the exact load of the moment.

The trace is at hand, so a plan is made, run, and made again until it costs least while it keeps the objective.
May not be compared as if anyone could run it.
"""

import math
from typing import Final

import numpy as np

from corefit.simulate.kernel import Ints
from corefit.simulate.outcome import Case, Outcome, Run
from corefit.simulate.scalers import Fixed, needs, offered

STEP_S: Final = 5.0
"""Seconds of load that a plan is made for at a time: less is noise, and no pod starts faster."""
STATIC_S: Final = 60.0
"""A plan that never changes needs no rhythm of its own."""
SEARCH_STEPS: Final = 5
"""Halvings of the misses that the clairvoyant may plan for: to within a sixth of them, a percent of its cost."""
ALLOWED: Final = (1e-3, 0.2)
"""Misses of a step that may be planned for: a tenth of what most objectives allow, and more than any step can have."""
HOLDS_S: Final = (0.0, 60.0, 300.0, 900.0)
"""For how long the reactive bound may keep what it needed: not at all, to a quarter of an hour."""
MARGINS: Final = (0.0, 0.25, 0.5, 1.0)
"""By how much more than the load of the moment the reactive bound may size for."""


def clairvoyant(case: Case, _argument: str, run: Run) -> Outcome:
    """Knows all arrivals, asks one start-up ahead, and plans for the most misses that still keep the objective."""
    low, high = ALLOWED
    best: Outcome | None = None
    for _ in range(SEARCH_STEPS):
        allowed = math.sqrt(low * high)
        tried = _planned(case, run, _ahead(case, allowed))
        if _kept(case, tried):
            best, low = tried, allowed
        else:
            high = allowed
    return best or _planned(case, run, _ahead(case, low))


def static(case: Case, _argument: str, run: Run) -> Outcome:
    """The fewest replicas that keep the objective over the whole trace, never changed."""
    service = case.setting.service
    least = case.work.sum() / case.trace.duration_s / service.workers
    low, high = max(1, math.ceil(least)), int(needs(offered(case.trace, case.work, 1.0), service, ALLOWED[0]).max())
    best = run(case, Fixed([high], STATIC_S), high)
    while low < high:
        middle = (low + high) // 2
        tried = run(case, Fixed([middle], STATIC_S), middle)
        if _kept(case, tried):
            best, high = tried, middle
        else:
            low = middle + 1
    return best


def reactive(case: Case, _argument: str, run: Run) -> Outcome:
    """Knows the load of the moment exactly and at once, and nothing of the next: what is had without foresight.

    It holds a floor at all times, and above that what the load asked for lately, with a margin: floor, time and margin
    as they are cheapest in hindsight. It even sees a step of the plan at its beginning.
    """
    service = case.setting.service
    load = offered(case.trace, case.work, STEP_S)
    best: Outcome | None = None
    closest: Outcome | None = None
    for margin in MARGINS:
        need = needs((1 + margin) * load, service, 1 - service.objective.percentile / 100)
        for hold_s in HOLDS_S:
            plan = _held(need, round(hold_s / STEP_S))
            low, high = 1, int(need.max())
            while low <= high:
                floor = (low + high) // 2
                tried = _planned(case, run, np.maximum(plan, floor))
                if closest is None or tried.attainment > closest.attainment:
                    closest = tried
                dear = best is not None and tried.core_hours >= best.core_hours
                if _kept(case, tried) and not dear:
                    best = tried
                if _kept(case, tried) or dear:
                    high = floor - 1
                else:
                    low = floor + 1
    return best or closest or static(case, "", run)


def _ahead(case: Case, allowed: float) -> Ints:
    """What each step needs, asked for one start-up ahead.

    A pod that would be needed again before a new one could have started is kept: stopping it saves less than starting
    another costs.
    """
    service = case.setting.service
    need = needs(offered(case.trace, case.work, STEP_S), service, allowed)
    ahead = math.ceil(service.startup_s / STEP_S)
    padded = np.concatenate([need, np.full(ahead, need[-1])])
    return np.array([padded[i : i + ahead + 1].max() for i in range(len(need))])


def _held(need: Ints, steps: int) -> Ints:
    """The highest need of each step and so many before it."""
    return np.array([need[max(0, i - steps) : i + 1].max() for i in range(len(need))])


def _planned(case: Case, run: Run, plan: Ints) -> Outcome:
    return run(case, Fixed([int(n) for n in plan], STEP_S), int(plan[0]))


def _kept(case: Case, outcome: Outcome) -> bool:
    return outcome.attainment >= case.setting.service.objective.percentile / 100
