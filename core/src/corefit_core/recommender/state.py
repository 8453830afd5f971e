"""What `decide` remembers from one call to the next: frozen values, serialisable by msgspec, units in the names.

May not decide anything.
"""

import math
from collections.abc import Mapping
from typing import Final, NamedTuple

import msgspec

from corefit_core.recommender.transients import Transients
from corefit_core.window import Timed

MIN_SERVICE_S: Final = 1e-6
"""Shorter than any run of a model, and long enough to divide by."""


class Totals(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What is counted of a pod's report: totals of one process since it started.

    A tenth of a report's size, so that the state stays small and the difference of a hundred pods is cheap. Each
    answer, be it a failure, has one service time and one total time.

    Attributes:
        arrivals, turned_away: requests; turned away are those rejected and those expired while they waited.
        busy_s: worker-seconds.
        answered, served_s, served_sq_s2: count of the answers, and moments of their service time.
        waited: of those, the ones that had to wait for a worker.
        late: of those, the ones over the objective.
        cpu_s: CPU-seconds of the process.
        held_s: worker-seconds that requests held a worker for, those in which a quota stopped it as well.
        computed_s, computed_sq_s2: moments of the service time by the threads' own clocks.
        alone: of the answers, those whose service time alone is over the objective.
    """

    arrivals: float = 0.0
    turned_away: float = 0.0
    busy_s: float = 0.0
    answered: float = 0.0
    served_s: float = 0.0
    served_sq_s2: float = 0.0
    waited: float = 0.0
    late: float = 0.0
    cpu_s: float = 0.0
    held_s: float = 0.0
    computed_s: float = 0.0
    computed_sq_s2: float = 0.0
    alone: float = 0.0

    def since(self, old: "Totals") -> "Totals | None":
        """What was counted after `old`; None when a counter went backwards."""
        arrivals, turned_away = self.arrivals - old.arrivals, self.turned_away - old.turned_away
        busy_s, answered = self.busy_s - old.busy_s, self.answered - old.answered
        served_s, served_sq_s2 = self.served_s - old.served_s, self.served_sq_s2 - old.served_sq_s2
        waited, late, cpu_s = self.waited - old.waited, self.late - old.late, self.cpu_s - old.cpu_s
        computed_s, computed_sq_s2 = self.computed_s - old.computed_s, self.computed_sq_s2 - old.computed_sq_s2
        alone = self.alone - old.alone
        if (
            arrivals < 0
            or turned_away < 0
            or busy_s < 0
            or answered < 0
            or served_s < 0
            or served_sq_s2 < 0
            or waited < 0
            or late < 0
            or cpu_s < 0
            or computed_s < 0
            or computed_sq_s2 < 0
            or alone < 0
        ):
            return None
        counted = (arrivals, turned_away, busy_s, answered, served_s, served_sq_s2, waited, late, cpu_s)
        # What held a worker is what was busy, until a quota's share is taken of the latter.
        return Totals(*counted, busy_s, computed_s, computed_sq_s2, alone)


class PodState(msgspec.Struct, frozen=True, gc=False):
    """What was counted of a pod last, to take the next difference from.

    Attributes:
        uid, boot_id: which process.
        clock_s: its clock at that report.
        at: when it was counted.
        totals: its counters.
        erlangs: offered load by the last difference; None before there was one.
        total: its total times, in the report's buckets.
        workers: it had.
        arriving: what had arrived by the last difference, in Erlangs.
    """

    uid: str
    boot_id: str
    clock_s: float
    at: float
    totals: Totals = Totals()
    erlangs: float | None = None
    total: tuple[int, ...] = ()
    workers: int = 0
    arriving: float = 0.0


class Asked(msgspec.Struct, frozen=True):
    """A resize that has not arrived yet: which pod, to how much, since when."""

    uid: str
    millicores: int
    since: float


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """Offered load at a time.

    Attributes:
        erlangs: as it was worked or turned away.
        ceiling: with every silent pod taken as fully busy.
        arriving: as it arrived.
        waiting: requests that waited in long queues.
    """

    at: float
    erlangs: float
    ceiling: float
    arriving: float = 0.0
    waiting: int = 0


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


class Waits(NamedTuple):
    """What tells how far pods share their load, until it is enough to tell.

    Attributes:
        answered, waited: requests, and those of them that had to wait for a worker.
        held_s, worker_s: worker-seconds in which there was a request, and those that there were.
    """

    answered: float = 0.0
    waited: float = 0.0
    held_s: float = 0.0
    worker_s: float = 0.0


class Prediction(msgspec.Struct, frozen=True):
    """What each predictor said, at a time, that the load would be one start-up later; in Erlangs."""

    at: float
    erlangs: tuple[float, ...]


class Level(msgspec.Struct, frozen=True):
    """The load of half a minute: first and last round, how many and the sum of their Erlangs, the highest 15 s mean."""

    begin: float
    end: float
    rounds: int
    erlangs: float
    highest: float


class Errors(msgspec.Struct, frozen=True):
    """How far one predictor was off, in bins of load over prediction, forgotten slowly.

    Attributes:
        bins: (predicted Erlangs, those that came), summed for each bin that has had any.
    """

    bins: Mapping[int, tuple[float, float]] = {}


class Compared(msgspec.Struct, frozen=True):
    """What each predictor was held for, and the load that came; in Erlangs."""

    at: float
    held: tuple[float, ...]
    actual: float


class Burst(msgspec.Struct, frozen=True):
    """A burst that outran the predictors.

    Attributes:
        first, last: when it was first and last seen.
        returned: the load had been as high within the quarter of an hour before it.
    """

    first: float
    last: float
    returned: bool = False


class Served(msgspec.Struct, frozen=True, kw_only=True):
    """How the objective was kept lately: requests, those that missed it, and over how many seconds, as fading sums."""

    requests: float = 0.0
    missed: float = 0.0
    seconds: float = 0.0


class Trial(msgspec.Struct, frozen=True):
    """One replica more for pods that have no idle time: when, their work then in Erlangs, and how many it makes."""

    at: float
    erlangs: float
    replicas: int


class State(msgspec.Struct, frozen=True, kw_only=True):
    """What `decide` remembers between calls; an empty one is that of an operator that just started.

    Attributes:
        since: since when the load is known without a gap longer than a report may be old; None when it isn't.
        known_at: when it was known last.
        at: when the last observation was made.
        pods: last counted reports.
        window: recommendations of the stabilisation window, oldest first.
        wanted: pods that the load asked for last, from where they are looked for the next time.
        samples: offered load lately, oldest first.
        service: moments of the service time.
        startup_s: the longest start-up that a pod has reported; None before one has.
        levels: the load of the last quarter of an hour, in blocks.
        predictions: those not yet compared with what came, and a stabilisation window before them.
        pending: compared, but not learned from yet.
        judged_at: the newest prediction that was compared.
        errors: of each predictor.
        chosen: the number of the predictor that is used.
        bursts: of the last hour.
        served: how the objective was kept.
        within: how it was kept in the rounds in which the pods were not full.
        recent: how it was kept in the last minute or so.
        alone: answers lately, and those that were late without having waited: no number of pods mends these.
        pooling: how far the pods share their load, from 0 (each has its own queue) to 1 (all serve one queue).
        waits: of the rounds since that was last learned.
        latencies: total times lately, in the report's buckets, as fading counts.
        correction: factor on the load in the formulas, by which they come to what was measured.
        peaks: load that the CPU per pod was sized for lately, oldest first.
        asked: resizes that have not arrived.
        transients: bursts that ended before a pod for them could serve, and the burst of now.
        trial: the last replica that was added to see whether there is more load; None before one was.
    """

    since: float | None = None
    known_at: float | None = None
    at: float | None = None
    pods: tuple[PodState, ...] = ()
    window: tuple[Timed, ...] = ()
    wanted: int = 0
    samples: tuple[Sample, ...] = ()
    service: Moments = Moments()
    startup_s: float | None = None
    levels: tuple[Level, ...] = ()
    predictions: tuple[Prediction, ...] = ()
    pending: tuple[Compared, ...] = ()
    judged_at: float = -math.inf
    errors: tuple[Errors, ...] = ()
    chosen: int = 0
    bursts: tuple[Burst, ...] = ()
    served: Served = Served()
    within: Served = Served()
    recent: Served = Served()
    alone: Served = Served()
    pooling: float = 1.0
    waits: Waits = Waits()
    latencies: tuple[float, ...] = ()
    correction: float = 1.0
    peaks: tuple[Timed, ...] = ()
    asked: tuple[Asked, ...] = ()
    transients: Transients = Transients()
    trial: Trial | None = None
