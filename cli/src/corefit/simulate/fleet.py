"""The simulated pods: asked for, starting, ready, draining, gone; what they cost and what they report.

May not decide how many there should be.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from corefit.simulate import kernel
from corefit.simulate.requests import Requests
from corefit.simulate.service import Service
from corefit_core import sizing
from corefit_core.histogram import Histogram
from corefit_core.report import Computed, Counters, Gauges, ModelIdentity, PlanInForce, Report

_MODEL: Final = ModelIdentity(name="simulated")


class Pod:
    """One pod's life; `gone` is infinite while it is wanted."""

    def __init__(self, number: int, slot: int, created: float, ready_at: float, millicores: int) -> None:
        self.uid = f"pod-{number}"
        self.slot, self.created, self.ready_at = slot, created, ready_at
        self.deleted = self.gone = float("inf")
        self.millicores = self.requested = millicores
        self.resized_at = float("inf")
        self._spent, self._since = 0.0, created

    def request(self, millicores: int, now: float, resize_s: float) -> None:
        """Ask for a resize; what is requested costs from now on."""
        self._spent, self._since = self.core_seconds(now), now
        self.requested, self.resized_at = millicores, now + resize_s

    def core_seconds(self, until: float) -> float:
        """Requested cores times time, from asking for the pod until it is gone."""
        return self._spent + max(0.0, min(self.gone, until) - self._since) * self.requested / 1000

    def ready(self, now: float) -> bool:
        """Whether it serves."""
        return self.ready_at <= now < self.deleted


class _Row(NamedTuple):
    """What the kernel keeps of one pod, as Python's own numbers."""

    gauges: Gauges
    busy_s: float
    cpu_s: float
    computed: Computed
    workers: int
    depth: int
    counts: list[int]
    sums: list[float]
    squares: list[float]
    buckets: list[list[int]]


class Fleet:
    """All pods of one service."""

    def __init__(self, service: Service, requests: Requests, replicas: int) -> None:
        self.service, self.requests = service, requests
        self.pods: list[Pod] = []
        self.past = 0.0
        self._leaving: list[Pod] = []
        self._numbers = 0
        slots, depth = 16, service.depth_of(service.most_workers)
        self._rows = kernel.Rows(
            free=np.zeros((slots, service.most_workers)),
            width=np.zeros(slots, dtype=np.int64),
            depth=np.zeros(slots, dtype=np.int64),
            cores=np.zeros(slots),
            starts=np.zeros((slots, depth + 1)),
            ends=np.zeros((slots, 2), dtype=np.int64),
            counts=np.zeros((slots, 3), dtype=np.int64),
            sums=np.zeros((slots, 3)),
            squares=np.zeros((slots, 3)),
            buckets=np.zeros((slots, 3, kernel.BUCKETS), dtype=np.int64),
            work=np.zeros(slots),
            work_squares=np.zeros(slots),
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
        changes = [at for pod in self.pods for at in (pod.ready_at, pod.resized_at) if now < at < upto]
        for time in sorted({*changes, upto}):
            self._serve(now, time)
            now = time
            for pod in self.pods:
                if pod.resized_at <= now:
                    self._resized(pod, now)

    def resize(self, grants: Mapping[str, int], now: float) -> None:
        """Ask for CPU for pods that run, by uid."""
        for pod in self.pods:
            millicores = grants.get(pod.uid, pod.requested)
            if millicores != pod.requested:
                pod.request(millicores, now, self.service.resize_s)

    def headroom(self) -> int:
        """Millicores that the pods may grow by: what they leave of what they began with, and the nodes' free share.

        What a pod gives back stays free for it: no neighbour takes it meanwhile.
        """
        had = len(self.pods) * self.service.millicores
        return max(0, round(had * (1 + self.service.headroom)) - sum(pod.requested for pod in self.pods))

    def ready(self, now: float) -> list[Pod]:
        """The pods that serve."""
        return [pod for pod in self.pods if pod.ready(now)]

    def busy_seconds(self, pod: Pod, now: float) -> float:
        """Worker-seconds done until now: all that was let in but what is still ahead of the workers."""
        ahead = np.maximum(0.0, self._rows.free[pod.slot] - now).sum()
        return float(max(0.0, self._rows.sums[pod.slot, kernel.SERVICE] - ahead))

    def core_seconds(self, until: float) -> float:
        """Requested cores times time, from asking for a pod until it is gone."""
        return self.past + sum(pod.core_seconds(until) for pod in (*self.pods, *self._leaving))

    def reports(self, now: float) -> dict[str, Report]:
        """What each pod's runtime would say. Histograms count a request when it is let in, not when it ends."""
        slots, rows = [pod.slot for pod in self.pods], self._rows
        ahead = np.maximum(0.0, rows.free[slots] - now).sum(axis=1)
        busy = np.maximum(0.0, rows.sums[slots, kernel.SERVICE] - ahead)
        # What is still ahead runs as fast as all workers together do, and nothing ran faster than it held a worker.
        speed = np.minimum(1.0, rows.cores[slots] / rows.width[slots])
        work = np.clip(rows.work[slots] - ahead * speed, 0.0, busy)
        computed = [
            Computed(sum_s=s, sum_sq_s2=sq)
            for s, sq in zip(rows.work[slots].tolist(), rows.work_squares[slots].tolist(), strict=True)
        ]
        # As the runtime does, without the empty buckets at the end.
        buckets = rows.buckets[slots]
        used = np.flatnonzero(buckets.any(axis=(0, 1)))
        buckets = buckets[:, :, : used[-1] + 1 if len(used) else 0]
        columns = (rows.width, rows.depth, rows.counts, rows.sums, rows.squares)
        # What is ahead of a request that comes now, less half a run for each worker that is in one.
        ahead_of_it = ahead * speed / self.service.service_s - rows.width[slots] / 2
        queued = np.clip(np.round(ahead_of_it), 0, rows.depth[slots]).astype(np.int64)
        waits = ahead / rows.width[slots]
        read = zip(
            [Gauges(queued=q, wait_seconds=s) for q, s in zip(queued.tolist(), waits.tolist(), strict=True)],
            busy.tolist(),
            work.tolist(),
            computed,
            *(column[slots].tolist() for column in columns),
            buckets.tolist(),
            strict=True,
        )
        return {pod.uid: self._report(pod, now, _Row(*each)) for pod, each in zip(self.pods, read, strict=True)}

    def _report(self, pod: Pod, now: float, row: "_Row") -> Report:
        arrived, rejected, served = row.counts
        times = [
            Histogram(counts=tuple(b), sum_s=s, sum_sq_s2=sq)
            for b, s, sq in zip(row.buckets, row.sums, row.squares, strict=True)
        ]
        return Report(
            pod_uid=pod.uid,
            boot_id=pod.uid,
            state="Ready" if pod.ready_at <= now else "Loading",
            model=_MODEL,
            plan=PlanInForce(
                grant_millicores=pod.millicores, workers=row.workers, threads_per_worker=1, queue_depth=row.depth
            ),
            clock_s=now - pod.created,
            startup_s=self.service.startup_s if pod.ready_at <= now else 0.0,
            counters=Counters(
                arrivals=arrived,
                admitted=served,
                rejected={"queue_full": rejected},
                completed=served,
                busy_worker_seconds=row.busy_s,
                cpu_seconds=row.cpu_s,
            ),
            gauges=row.gauges,
            service_time=times[kernel.SERVICE],
            computed=row.computed,
            queue_wait=times[kernel.WAIT],
            total=times[kernel.TOTAL],
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
        self.pods.append(Pod(self._numbers, slot, now, ready_at, self.service.millicores))
        self._sized(slot, self.service.millicores)

    def _resized(self, pod: Pod, now: float) -> None:
        """The process has re-planned. What a worker that goes had taken, it finishes; new ones are free at once."""
        before = self._rows.width[pod.slot]
        pod.millicores, pod.resized_at = pod.requested, float("inf")
        self._sized(pod.slot, pod.millicores)
        added = slice(before, max(before, self._rows.width[pod.slot]))
        self._rows.free[pod.slot, added] = np.maximum(self._rows.free[pod.slot, added], now)

    def _sized(self, slot: int, millicores: int) -> None:
        service = self.service
        workers = sizing.whole_cores(millicores, service.objective.latency_s, service.service_s)[0]
        self._rows.width[slot] = min(workers, service.most_workers)
        self._rows.cores[slot] = millicores / 1000
        self._rows.depth[slot] = service.depth_of(min(workers, millicores / 1000))

    def _delete(self, pod: Pod, now: float) -> None:
        pod.deleted = now
        pod.gone = (
            now if not pod.ready_at <= now else max(now + self.service.drain_s, float(self._rows.free[pod.slot].max()))
        )
        self._leaving.append(pod)

    def _sweep(self, now: float) -> None:
        for pod in [pod for pod in self._leaving if pod.gone <= now]:
            self.past += pod.core_seconds(pod.gone)
            self._leaving.remove(pod)
            self._unused.append(pod.slot)

    def _grow(self) -> None:
        slots = len(self._rows.free)
        self._rows = kernel.Rows(*(np.concatenate([array, np.zeros_like(array)]) for array in self._rows))
        self._unused = list(range(slots, 2 * slots))
