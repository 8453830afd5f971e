"""The simulated pods: asked for, starting, ready, draining, gone; what they cost and what they report.

May not decide how many there should be.
"""

from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from corefit.simulate import kernel
from corefit.simulate.requests import Balancing, Requests
from corefit_core.report import Counters, Histogram, ModelIdentity, PlanInForce, Report
from corefit_core.sizing import Objective, queue_depth

MAX_DEPTH: Final = 4096
"""Requests that may wait in a simulated pod: 32 KiB of memory each pod, and no trace fills more in time."""


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """What is simulated.

    Attributes:
        service_s, service_cv: mean and coefficient of variation of the time that a request takes a worker.
        workers: of a pod; each costs a core.
        startup_s: from asking for a pod until it serves.
        drain_s: from deleting a pod until it is gone, longer when it holds longer requests.
        objective: what the queue is bounded by.
        balancing: who gets a request: the pod whose worker is free first (one queue for all), any pod, or the one
            with the fewest requests.
    """

    service_s: float = 0.05
    service_cv: float = 0.3
    workers: int = 2
    startup_s: float = 20.0
    drain_s: float = 5.0
    objective: Objective = Objective(percentile=99.0, latency_s=0.15)
    balancing: Balancing = "least-loaded"

    @property
    def depth(self) -> int:
        """Requests that may wait in a pod, as the runtime bounds them."""
        return min(MAX_DEPTH, queue_depth(self.workers, self.objective.latency_s, self.service_s))


class Pod:
    """One pod's life; `gone` is infinite while it is wanted."""

    def __init__(self, number: int, slot: int, created: float, ready_at: float) -> None:
        self.uid = f"pod-{number}"
        self.slot, self.created, self.ready_at = slot, created, ready_at
        self.deleted = self.gone = float("inf")

    def ready(self, now: float) -> bool:
        """Whether it serves."""
        return self.ready_at <= now < self.deleted


class Fleet:
    """All pods of one service."""

    def __init__(self, service: Service, requests: Requests, replicas: int) -> None:
        self.service, self.requests = service, requests
        self.pods: list[Pod] = []
        self.past: list[tuple[float, float]] = []
        self._leaving: list[Pod] = []
        self._numbers = 0
        slots, workers, depth = 16, service.workers, service.depth
        self._rows = kernel.Rows(
            free=np.zeros((slots, workers)),
            starts=np.zeros((slots, depth + 1)),
            ends=np.zeros((slots, 2), dtype=np.int64),
            counts=np.zeros((slots, 3), dtype=np.int64),
            sums=np.zeros((slots, 3)),
            squares=np.zeros((slots, 3)),
            buckets=np.zeros((slots, 3, kernel.BUCKETS), dtype=np.int64),
        )
        self._unused = list(range(slots))
        for _ in range(replicas):
            self._create(0.0, 0.0)

    def scale(self, replicas: int, now: float) -> None:
        """Ask for so many pods. What goes first: pods that are not ready, then the youngest (as a ReplicaSet does)."""
        for _ in range(replicas - len(self.pods)):
            self._create(now, now + self.service.startup_s)
        if replicas < len(self.pods):
            self.pods.sort(key=lambda pod: (not pod.ready(now), pod.created))
            going, self.pods = self.pods[replicas:], self.pods[:replicas]
            for pod in going:
                self._delete(pod, now)

    def advance(self, now: float, upto: float) -> None:
        """Serve what arrives until `upto`, while pods become ready at their times."""
        self._sweep(now)
        times = sorted({pod.ready_at for pod in self.pods if now < pod.ready_at < upto} | {upto})
        for time in times:
            self._serve(now, time)
            now = time

    def ready(self, now: float) -> list[Pod]:
        """The pods that serve."""
        return [pod for pod in self.pods if pod.ready(now)]

    def busy_seconds(self, pod: Pod, now: float) -> float:
        """Worker-seconds done until now: all that was let in but what is still ahead of the workers."""
        ahead = np.maximum(0.0, self._rows.free[pod.slot] - now).sum()
        return float(max(0.0, self._rows.sums[pod.slot, kernel.SERVICE] - ahead))

    def core_seconds(self, until: float) -> float:
        """Requested cores times time, from asking for a pod until it is gone."""
        open_ends = [(pod.created, pod.gone) for pod in (*self.pods, *self._leaving)]
        spans = (min(gone, until) - created for created, gone in (*self.past, *open_ends))
        return sum(spans) * self.service.workers

    def report(self, pod: Pod, now: float) -> Report:
        """What the pod's runtime would say. Histograms count a request when it is let in, not when it ends."""
        slot, service = pod.slot, self.service
        arrived, rejected, served = (int(count) for count in self._rows.counts[slot])
        return Report(
            pod_uid=pod.uid,
            boot_id=pod.uid,
            state="Ready" if pod.ready_at <= now else "Loading",
            model=ModelIdentity(name="simulated"),
            plan=PlanInForce(
                grant_millicores=1000 * service.workers,
                workers=service.workers,
                threads_per_worker=1,
                queue_depth=service.depth,
            ),
            clock_s=now - pod.created,
            startup_s=service.startup_s if pod.ready_at <= now else 0.0,
            counters=Counters(
                arrivals=arrived,
                admitted=served,
                rejected={"queue_full": rejected},
                completed=served,
                busy_worker_seconds=self.busy_seconds(pod, now),
            ),
            service_time=self._histogram(slot, kernel.SERVICE),
            queue_wait=self._histogram(slot, kernel.WAIT),
            total=self._histogram(slot, kernel.TOTAL),
        )

    def _histogram(self, slot: int, kind: int) -> Histogram:
        return Histogram(
            counts=tuple(self._rows.buckets[slot, kind].tolist()),
            sum_s=float(self._rows.sums[slot, kind]),
            sum_sq_s2=float(self._rows.squares[slot, kind]),
        )

    def _serve(self, now: float, upto: float) -> None:
        ready: npt.NDArray[np.int64] = np.array([pod.slot for pod in self.ready(now)], dtype=np.int64)
        requests = self.requests
        requests.served = kernel.serve(requests.load, self._rows, ready, requests.served, upto)

    def _create(self, now: float, ready_at: float) -> None:
        if not self._unused:
            self._grow()
        slot = self._unused.pop()
        for array in self._rows:
            array[slot] = 0
        self._rows.free[slot] = ready_at
        self._numbers += 1
        self.pods.append(Pod(self._numbers, slot, now, ready_at))

    def _delete(self, pod: Pod, now: float) -> None:
        pod.deleted = now
        pod.gone = (
            now if not pod.ready_at <= now else max(now + self.service.drain_s, float(self._rows.free[pod.slot].max()))
        )
        self._leaving.append(pod)

    def _sweep(self, now: float) -> None:
        for pod in [pod for pod in self._leaving if pod.gone <= now]:
            self.past.append((pod.created, pod.gone))
            self._leaving.remove(pod)
            self._unused.append(pod.slot)

    def _grow(self) -> None:
        slots = len(self._rows.free)
        self._rows = kernel.Rows(*(np.concatenate([array, np.zeros_like(array)]) for array in self._rows))
        self._unused = list(range(slots, 2 * slots))
