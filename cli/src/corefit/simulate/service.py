"""What is simulated: a service, its pods' size and times, and what a request costs. Pure."""

import math
from typing import Final

import msgspec

from corefit.simulate.requests import Balancing
from corefit_core.recommender import CpuRange
from corefit_core.sizing import Objective, queue_depth

MAX_DEPTH: Final = 4096
"""Requests that may wait in a simulated pod: 32 KiB of memory each pod, and no trace fills more in time."""


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """A service.

    Attributes:
        service_s, service_cv: mean and coefficient of variation of the time that a request takes a worker.
        workers: of a pod.
        worker_millicores: what a pod begins with for each worker; below 1000 a quota stretches each run.
        startup_s: from asking for a pod until it serves.
        drain_s: from deleting a pod until it is gone, longer when it holds longer requests.
        objective: what the queue is bounded by.
        cpu_range: what a pod's CPU may be resized to while it runs; None: a core for each worker, always.
        headroom: CPU that the nodes have free beside what the pods began with, as a share of that.
        resize_s: from a resize to its effect in the process: the worst of 20 measured took 0.41 s.
        balancing: who gets a request: the pod whose worker is free first (one queue for all), any pod, or the one
            with the fewest requests; with `auto` any pod until the policy says otherwise.
    """

    service_s: float = 0.05
    service_cv: float = 0.3
    workers: int = 2
    worker_millicores: int = 1000
    startup_s: float = 20.0
    drain_s: float = 5.0
    objective: Objective = Objective(percentile=99.0, latency_s=0.15)
    cpu_range: CpuRange | None = None
    headroom: float = 1.0
    resize_s: float = 0.5
    balancing: Balancing = "least-loaded"

    @property
    def millicores(self) -> int:
        """What a pod begins with."""
        return self.worker_millicores * self.workers

    @property
    def most_workers(self) -> int:
        """Of the largest pod."""
        largest = self.millicores if self.cpu_range is None else self.cpu_range.max_millicores
        return max(self.workers, math.ceil(largest / 1000))

    @property
    def depth(self) -> int:
        """Requests that may wait in a pod as it begins."""
        return self.depth_of(self.millicores / 1000)

    def depth_of(self, workers: float) -> int:
        """Requests that may wait in a pod in which so many workers compute at once, as the runtime bounds them."""
        return min(MAX_DEPTH, queue_depth(workers, self.objective.latency_s, self.service_s))
