"""What goes into `decide` and what comes out: frozen values, serialisable by msgspec, units in the names.

May not decide anything.
"""

from collections.abc import Mapping
from typing import Final, Literal

import msgspec

from corefit_core.report import Report
from corefit_core.sizing import Objective
from corefit_core.window import Timed

MIN_SERVICE_S: Final = 1e-6
"""Shorter than any run of a model, and long enough to divide by."""


class Price(msgspec.Struct, frozen=True, kw_only=True):
    """What a core and a GiB cost an hour, in `currency`.

    The defaults are the per-vCPU and per-GiB list prices of AWS Fargate, Linux/x86, us-east-1 (USD): a public
    price that is quoted per resource, which most instance prices are not.
    """

    core_hour: float = 0.04048
    gib_hour: float = 0.004445
    currency: str = "USD"

    def per_hour(self, millicores: int, memory_bytes: int) -> float:
        """The cost an hour of so much CPU and memory."""
        return self.core_hour * millicores / 1000 + self.gib_hour * memory_bytes / 2**30


class CpuRange(msgspec.Struct, frozen=True, kw_only=True):
    """What one pod may be given by in-place resize (KEP-1287), both included, in millicores."""

    min_millicores: int
    max_millicores: int


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """What the resource asks for, as numbers.

    Attributes:
        objective: percentile and latency.
        min_replicas, max_replicas: bounds of the replicas, both included.
        workers_per_pod: W of the sizing plan, for pods that have not reported their own.
        millicores_per_pod, memory_bytes_per_pod: what a new pod is given, and costs.
        cpu_range: what a pod may be resized to while it runs; None: it stays at `millicores_per_pod`.
        resize_s: from a resize to its effect in the process.
        price: per core-hour and GiB-hour.
        down_window_s: scaling down follows the highest recommendation of so many seconds, or of a start-up's when
            that is longer: an idle pod is kept as long as a new one would take to come, which at worst costs twice
            what foresight would. A minute at least, Knative's window too: load that comes and goes within it is noise.
        max_report_age_s: an older report counts as missing.
        startup_s: from asking for a pod until it serves, as long as no pod has reported its own.
        naive_throughput: of an unsized pod over a sized one's, for the baseline that savings are counted from.
        naive_utilization: the CPU target of that baseline's autoscaler: 70 %, what most examples set.
    """

    objective: Objective = Objective()
    min_replicas: int = 1
    max_replicas: int = 10
    workers_per_pod: int = 1
    millicores_per_pod: int = 1000
    memory_bytes_per_pod: int = 2**29
    cpu_range: CpuRange | None = None
    resize_s: float = 1.0
    price: Price = Price()
    down_window_s: float = 60.0
    max_report_age_s: float = 30.0
    startup_s: float = 20.0
    naive_throughput: float = 0.6
    naive_utilization: float = 0.7


class PodObservation(msgspec.Struct, frozen=True, kw_only=True):
    """One runtime pod as the operator sees it.

    Attributes:
        uid: metadata.uid.
        ready: the Ready condition of the pod.
        report: the newest report that it gave; None when there is none.
        age_s: seconds since that report was received.
        millicores: CPU that the pod is granted now; 0: `Policy.millicores_per_pod`.
        node: where it runs; empty when it is not known.
    """

    uid: str
    ready: bool
    report: Report | None = None
    age_s: float = 0.0
    millicores: int = 0
    node: str = ""


class Observation(msgspec.Struct, frozen=True, kw_only=True):
    """One round of collection.

    Attributes:
        pods: the service's live pods (those being deleted are left out).
        replicas: spec.replicas of the Deployment now.
        rollout: a rollout is in progress (new and old pods at once).
        headroom_millicores: CPU that each node has left to request; a node that is not named has none, so that a
            pod on it is not grown and the need goes to replicas.
    """

    pods: tuple[PodObservation, ...]
    replicas: int
    rollout: bool = False
    headroom_millicores: Mapping[str, int] = {}


Reason = Literal[
    "Steady",
    "LoadUp",
    "LoadDown",
    "StabilisationWindow",
    "AtMaximum",
    "AtMinimum",
    "NoReports",
    "StaleReports",
    "RolloutInProgress",
    "WindowFilling",
]


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What to do, and everything that it was made from.

    Attributes:
        replicas: what spec.replicas should be; equal to the observation's (within bounds) when it holds.
        millicores: CPU that each pod should be granted; None where the policy has no range.
        uncapped: what the load asks for, before bounds and windows; None without data.
        reason: CamelCase, for conditions, Events and metric labels.
        message: in plain words, with the numbers.
        offered_erlangs: offered load, mean busy workers if none were turned away; None without data.
        utilization: offered load per worker of the ready pods; None without data.
        latency_s: the objective's percentile of the total time as measured lately; None without data.
        cost_per_hour: of the replicas decided.
        current_cost_per_hour: of the replicas as they are.
        naive_cost_per_hour: of what most people would run for this load: pods whose threads are not sized, under an
            autoscaler that keeps their CPU at `Policy.naive_utilization`; None without data.
        missing_reports: ready pods whose report is missing or too old.
        invalid_reports: reports left out since their numbers are impossible.
    """

    replicas: int
    millicores: int | None = None
    uncapped: int | None
    reason: Reason
    message: str
    offered_erlangs: float | None = None
    utilization: float | None = None
    latency_s: float | None = None
    cost_per_hour: float = 0.0
    current_cost_per_hour: float = 0.0
    naive_cost_per_hour: float | None = None
    missing_reports: int = 0
    invalid_reports: int = 0


class Totals(msgspec.Struct, frozen=True):
    """What is counted of a pod's report: totals of one process since it started.

    A tenth of a report's size, so that the state stays small and the difference of a hundred pods is cheap.

    Attributes:
        arrivals, turned_away: requests; turned away are those rejected and those expired while they waited.
        busy_s: worker-seconds.
        served, served_s, served_sq_s2: count and moments of the service time.
        waited: requests that had to wait for a worker.
        answered: requests with a total time.
        late: of those, the ones over the objective.
    """

    arrivals: float = 0.0
    turned_away: float = 0.0
    busy_s: float = 0.0
    served: float = 0.0
    served_s: float = 0.0
    served_sq_s2: float = 0.0
    waited: float = 0.0
    answered: float = 0.0
    late: float = 0.0


class PodState(msgspec.Struct, frozen=True):
    """What was counted of a pod last, to take the next difference from.

    Attributes:
        uid, boot_id: which process.
        clock_s: its clock at that report.
        at: when it was counted.
        totals: its counters.
        erlangs: offered load by the last difference; None before there was one.
        total: its total times, in the report's buckets.
    """

    uid: str
    boot_id: str
    clock_s: float
    at: float
    totals: Totals = Totals()
    erlangs: float | None = None
    total: tuple[int, ...] = ()


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """Offered load at a time: `erlangs` as measured, `ceiling` with every silent pod taken as fully busy."""

    at: float
    erlangs: float
    ceiling: float


class Moments(msgspec.Struct, frozen=True, kw_only=True):
    """Service times seen lately, as weighted sums: count, seconds, seconds squared."""

    count: float = 0.0
    sum_s: float = 0.0
    sum_sq_s2: float = 0.0

    @property
    def mean_s(self) -> float | None:
        """Mean in seconds, at least `MIN_SERVICE_S`; None without observations."""
        return max(MIN_SERVICE_S, self.sum_s / self.count) if self.count > 0 else None

    @property
    def scv(self) -> float:
        """Squared coefficient of variation; 0 without observations."""
        mean = self.mean_s
        return 0.0 if mean is None else max(0.0, self.sum_sq_s2 / self.count / mean**2 - 1)


class Prediction(msgspec.Struct, frozen=True):
    """What each predictor said, at a time, that the load would be one start-up later; in Erlangs."""

    at: float
    erlangs: tuple[float, ...]


class Errors(msgspec.Struct, frozen=True):
    """How far one predictor was off: load over prediction, in bins, forgotten slowly.

    Attributes:
        weights: of each bin.
        ratios: weight times ratio, summed for each bin.
    """

    weights: tuple[float, ...] = ()
    ratios: tuple[float, ...] = ()


class Served(msgspec.Struct, frozen=True, kw_only=True):
    """How the objective was kept lately: requests and those that missed it, as fading sums."""

    requests: float = 0.0
    missed: float = 0.0


class State(msgspec.Struct, frozen=True, kw_only=True):
    """What `decide` remembers between calls; an empty one is that of an operator that just started.

    Attributes:
        since: since when the load is known without a gap longer than a report may be old; None when it isn't.
        known_at: when it was known last.
        at: when the last observation was made.
        pods: last counted reports.
        window: recommendations of the stabilisation window, oldest first.
        samples: offered load lately, oldest first.
        service: moments of the service time.
        startup_s: the longest start-up that a pod has reported; None before one has.
        predictions: not yet compared with what came.
        errors: of each predictor.
        served: how the objective was kept.
        within: how it was kept in the rounds in which the pods were not full.
        pooling: how far the pods share their load, from 0 (each has its own queue) to 1 (all serve one queue).
        latencies: total times lately, in the report's buckets, as fading counts.
        correction: factor on the load in the formulas, by which they come to what was measured.
    """

    since: float | None = None
    known_at: float | None = None
    at: float | None = None
    pods: tuple[PodState, ...] = ()
    window: tuple[Timed, ...] = ()
    samples: tuple[Sample, ...] = ()
    service: Moments = Moments()
    startup_s: float | None = None
    predictions: tuple[Prediction, ...] = ()
    errors: tuple[Errors, ...] = ()
    served: Served = Served()
    within: Served = Served()
    pooling: float = 1.0
    latencies: tuple[float, ...] = ()
    correction: float = 1.0
