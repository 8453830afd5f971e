"""What goes into `decide` and what comes out: frozen values, serialisable by msgspec, units in the names.

May not decide anything.
"""

from collections.abc import Mapping
from typing import Final, Literal

import msgspec

from corefit_core.recommender import queueing
from corefit_core.report import Report
from corefit_core.sizing import Objective

NAIVE_THROUGHPUT: Final = 0.37
"""Throughput of a pod whose threads nobody sized over that of a sized one at the same limit: `make bench` measured the
sized one at 2.67 times under a limit of one CPU with 16 clients at once (docs/runtime.md). With fewer clients an
unsized pod wastes more (6 times with 4, 20 with one): of what is claimed as saved this is the least."""


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
        round_s: seconds from one observation to the next; what begins to change is seen so much later.
        price: per core-hour and GiB-hour.
        down_window_s: replicas go down to the most that were needed within so many seconds; None: within
            `DOWN_STABILIZATION_S`, or two start-ups where those are longer (see `service_model.window_s`).
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
    round_s: float = 2.0
    price: Price = Price()
    down_window_s: float | None = None
    max_report_age_s: float = 30.0
    startup_s: float = 20.0
    naive_throughput: float = NAIVE_THROUGHPUT
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


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """What the pods of a service are counted from.

    Attributes:
        erlangs: mean load of the last minute.
        service: as the formulas need it.
        threads: of a worker, on average; each takes a core.
        window_s: the stabilization window.
    """

    erlangs: float
    service: queueing.Service
    threads: float
    window_s: float


Reason = Literal[
    "Steady",
    "LoadUp",
    "LoadDown",
    "StabilizationWindow",
    "Holding",
    "ErrorBudgetSpent",
    "ShortBurst",
    "Saturated",
    "AtMaximum",
    "AtMinimum",
    "NoReports",
    "StaleReports",
    "RolloutInProgress",
    "WindowFilling",
    "GrowingFirst",
]


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What to do, and everything that it was made from.

    Attributes:
        replicas: what spec.replicas should be; equal to the observation's (within bounds) when it holds.
        millicores: CPU that each pod should be granted; None where the policy has no range.
        grants: by uid, what each ready pod is to be resized to now: `millicores` as far as its node has room. A pod
            that is not named stays as it is.
        uncapped: what the load asks for, before bounds and windows; None without data.
        reason: CamelCase, for conditions, Events and metric labels.
        message: in plain words, with the numbers.
        offered_erlangs: offered load, mean busy workers if none were turned away; None without data.
        utilization: offered load per worker of the ready pods; None without data.
        latency_s: the objective's percentile of the total times of the last minute; None without answers.
        requests: of the last minute.
        missed: the share of them that were answered late or refused; None without requests.
        unreachable: why no number of replicas keeps the objective, and what would; empty where some may.
        doubtful: that requests of the last minute missed it without having waited, and what would keep it; else empty.
        cost_per_hour: of the replicas decided.
        naive_cost_per_hour: of what most people would run for this load: pods whose threads are not sized, under an
            autoscaler that keeps their CPU at `Policy.naive_utilization`; None without data.
        load: what it was decided from; None when it holds.
        missing_reports: ready pods whose report is missing or too old.
        invalid_reports: reports left out since their numbers are impossible.
    """

    replicas: int
    millicores: int | None = None
    grants: Mapping[str, int] = {}
    uncapped: int | None
    reason: Reason
    message: str
    offered_erlangs: float | None = None
    utilization: float | None = None
    latency_s: float | None = None
    requests: int = 0
    missed: float | None = None
    unreachable: str = ""
    doubtful: str = ""
    cost_per_hour: float = 0.0
    naive_cost_per_hour: float | None = None
    load: Load | None = None
    missing_reports: int = 0
    invalid_reports: int = 0
