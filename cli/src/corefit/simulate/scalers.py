"""The interface of a scaling policy, what it sees of the simulated service, and policies with a plan made beforehand.

May not look inside the fleet's arrays: a scaler sees what its original sees.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from corefit.simulate.fleet import Fleet, Pod
from corefit.simulate.kernel import Floats, Ints
from corefit.simulate.service import Service
from corefit.simulate.traces import Trace
from corefit_core.recommender import queueing


class View:
    """One look at the service at a time."""

    def __init__(self, fleet: Fleet, now: float) -> None:
        self.fleet, self.now = fleet, now

    @property
    def replicas(self) -> int:
        """spec.replicas: pods asked for."""
        return len(self.fleet.pods)

    @property
    def pods(self) -> Sequence[Pod]:
        """The pods that are not being deleted."""
        return self.fleet.pods

    @property
    def ready(self) -> list[Pod]:
        """The pods that serve."""
        return self.fleet.ready(self.now)

    def concurrency(self, span_s: float) -> float:
        """Requests inside pods, the mean of the last whole seconds."""
        end = int(self.now)
        seconds = self.fleet.requests.load.concurrency[max(0, end - int(span_s)) : end]
        return float(seconds.mean()) if len(seconds) else 0.0


class Scaler(Protocol):
    """Asked each `period_s` seconds for the replicas that it wants."""

    period_s: float

    def replicas(self, view: View) -> int:
        """spec.replicas from now on."""


class Fixed:
    """Replicas by a plan made beforehand: entry i holds from second i * period_s on."""

    def __init__(self, plan: Sequence[int], period_s: float) -> None:
        self.period_s, self._plan = period_s, plan

    def replicas(self, view: View) -> int:
        """What the plan says for now."""
        return self._plan[min(len(self._plan) - 1, int(view.now / self.period_s))]


def offered(trace: Trace, work: Floats, step_s: float) -> Floats:
    """Erlangs offered in each step of the trace."""
    steps = int(np.ceil(trace.duration_s / step_s))
    index = np.minimum(steps - 1, (trace.arrivals / step_s).astype(np.int64))
    return np.bincount(index, weights=work, minlength=steps) / step_s


def needs(erlangs: Floats, service: Service, allowed: float) -> Ints:
    """The fewest pods for each load so that at most `allowed` of its requests miss the objective."""
    top = float(erlangs.max(initial=0.0))
    limits = [0.0]
    while limits[-1] < top:
        limits.append(_most(len(limits), service, allowed))
    return np.maximum(1, np.searchsorted(np.array(limits), erlangs, side="left"))


def _most(pods: int, service: Service, allowed: float) -> float:
    """The highest load that so many pods take with at most `allowed` misses; where all miss, what keeps them busy."""
    model = queueing.Service(
        service_s=service.service_s,
        scv=service.service_cv**2,
        latency_s=service.objective.latency_s,
        workers=service.workers,
        pooling=0.0 if service.balancing in {"random", "auto"} else 1.0,
    )
    if model.missed(pods, 0.0) > allowed:
        return float(pods * service.workers)
    low, high = 0.0, 4.0 * pods * service.workers
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (middle, high) if model.turned_away(pods, middle) <= allowed else (low, middle)
    return low
