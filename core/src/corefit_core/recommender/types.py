"""What goes into `decide` and what comes out: frozen values, serialisable by msgspec, units in the names.

May not decide anything.
"""

from typing import Literal

import msgspec

from corefit_core.report import Report
from corefit_core.sizing import Objective


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


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """What the resource asks for, as numbers.

    Attributes:
        objective: percentile and latency.
        min_replicas, max_replicas: bounds of the replicas, both included.
        workers_per_pod: W of the sizing plan, for pods that have not reported their own.
        millicores_per_pod, memory_bytes_per_pod: what a pod costs.
        price: per core-hour and GiB-hour.
        down_window_s: scaling down follows the highest recommendation of so many seconds.
        max_report_age_s: an older report counts as missing.
    """

    objective: Objective = Objective()
    min_replicas: int = 1
    max_replicas: int = 10
    workers_per_pod: int = 1
    millicores_per_pod: int = 1000
    memory_bytes_per_pod: int = 2**29
    price: Price = Price()
    down_window_s: float = 300.0
    max_report_age_s: float = 30.0


class PodObservation(msgspec.Struct, frozen=True, kw_only=True):
    """One runtime pod as the operator sees it.

    Attributes:
        uid: metadata.uid.
        ready: the Ready condition of the pod.
        report: the newest report that it gave; None when there is none.
        age_s: seconds since that report was received.
    """

    uid: str
    ready: bool
    report: Report | None = None
    age_s: float = 0.0


class Observation(msgspec.Struct, frozen=True, kw_only=True):
    """One round of collection.

    Attributes:
        pods: the service's live pods (those being deleted are left out).
        replicas: spec.replicas of the Deployment now.
        rollout: a rollout is in progress (new and old pods at once).
    """

    pods: tuple[PodObservation, ...]
    replicas: int
    rollout: bool = False


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
        replicas: what spec.replicas should be; equal to the observation's when it holds.
        uncapped: what the load asks for, before bounds and windows; None without data.
        reason: CamelCase, for conditions, Events and metric labels.
        message: in plain words, with the numbers.
        offered_erlangs: offered load, mean busy workers if none were turned away; None without data.
        utilization: offered load per worker of the ready pods; None without data.
        latency_s: the objective's percentile of the total time as measured lately; None without data.
        cost_per_hour: of the replicas decided.
        current_cost_per_hour: of the replicas as they are.
    """

    replicas: int
    uncapped: int | None
    reason: Reason
    message: str
    offered_erlangs: float | None = None
    utilization: float | None = None
    latency_s: float | None = None
    cost_per_hour: float = 0.0
    current_cost_per_hour: float = 0.0


class PodState(msgspec.Struct, frozen=True, kw_only=True):
    """The last report of a pod that was counted, to take the next difference from."""

    uid: str
    report: Report


class Recommendation(msgspec.Struct, frozen=True, kw_only=True):
    """What the load asked for at a time, for the stabilisation window."""

    at: float
    replicas: int


class State(msgspec.Struct, frozen=True, kw_only=True):
    """What `decide` remembers between calls; an empty one is that of an operator that just started.

    Attributes:
        since: when the first observation of this state was made; None before it.
        pods: last counted reports.
        window: recommendations of the stabilisation window, oldest first.
    """

    since: float | None = None
    pods: tuple[PodState, ...] = ()
    window: tuple[Recommendation, ...] = ()
