"""The cost of the run in pod-seconds, and the cost of two other ways to run it. Pure arithmetic.

Corefit's figure is measured: the pods that there were, ready or not, second by second. The other two are computed
for the same load, not run: a fixed number of pods that is enough at the peak, and the Kubernetes HPA on CPU by its
published rule with its defaults.
"""

import math
from collections.abc import Sequence
from typing import Final

import msgspec

from corefit.demo.timeline import Point

HPA_TARGET: Final = 0.8
"""`kubectl autoscale` without a target: 80 % of the request."""
HPA_TOLERANCE: Final = 0.1
HPA_SYNC_S: Final = 15.0
HPA_DOWN_WINDOW_S: Final = 300.0


class Savings(msgspec.Struct, frozen=True, kw_only=True):
    """Pod-seconds of the three ways, and what a pod-hour costs nobody needs to know to compare them.

    Attributes:
        corefit: measured.
        static_peak: the most pods that Corefit had at once, all the time.
        hpa: by the HPA's rule on the CPU that the load takes.
    """

    seconds: float
    corefit: float
    static_peak: float
    hpa: float

    @property
    def against_peak(self) -> float:
        """The share saved against the fixed number, 0 to 1."""
        return 1 - self.corefit / self.static_peak if self.static_peak else 0.0

    @property
    def against_hpa(self) -> float:
        """The share saved against the HPA; negative when it would have been cheaper."""
        return 1 - self.corefit / self.hpa if self.hpa else 0.0


def savings(points: Sequence[Point], *, cpu_s_a_request: float, pod_cores: float, bounds: tuple[int, int]) -> Savings:
    """The three figures for a run."""
    if len(points) < 2:
        return Savings(seconds=0, corefit=0, static_peak=0, hpa=0)
    seconds = points[-1].at_s - points[0].at_s
    return Savings(
        seconds=seconds,
        corefit=integral(points, [point.service.pods for point in points]),
        static_peak=seconds * max(point.service.pods for point in points),
        hpa=integral(points, hpa_replicas(points, cpu_s_a_request, pod_cores, bounds)),
    )


def integral(points: Sequence[Point], pods: Sequence[int]) -> float:
    """Pod-seconds: each value holds until the next point."""
    spans = zip(points, points[1:], pods, strict=False)
    return sum((after.at_s - before.at_s) * count for before, after, count in spans)


def hpa_replicas(
    points: Sequence[Point], cpu_s_a_request: float, pod_cores: float, bounds: tuple[int, int]
) -> list[int]:
    """The replicas at each point by `ceil(replicas * utilization / target)`, its tolerance, period and window.

    A pod can't use more than its limit, so the HPA sees at most 100 % and needs several rounds for a large rise.
    """
    low, high = bounds
    replicas, next_sync = low, points[0].at_s
    wanted: list[tuple[float, int]] = []
    series = []
    for point in points:
        if point.at_s >= next_sync:
            next_sync += HPA_SYNC_S
            used = min(1.0, point.rate * cpu_s_a_request / (replicas * pod_cores))
            within = abs(used / HPA_TARGET - 1) <= HPA_TOLERANCE
            wanted.append((point.at_s, replicas if within else math.ceil(replicas * used / HPA_TARGET)))
            highest = max(count for at, count in wanted if point.at_s - at <= HPA_DOWN_WINDOW_S)
            replicas = min(high, max(low, highest))
        series.append(replicas)
    return series
