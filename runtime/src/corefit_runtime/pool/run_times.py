"""How long runs will take, from the profile and from the last runs; and which are too short to hand to a worker.

Not thread-safe: the pool holds its lock around every call.
"""

from typing import Final

from corefit_runtime.pool.jobs import Job
from corefit_runtime.pool.limits import Limits, Sizer

INLINE_S: Final = 100e-6
"""Runs up to this long stay on the event loop while nothing else is held: the way to a worker and back costs about
50 us of CPU (two wake-ups and the GIL between them), and a tenth of a millisecond is a tenth of what it may lag."""
MAX_OBSERVED: Final = 16
"""Runs whose time is kept while nothing was measured."""
MAX_SHORT: Final = 64
"""Different sizes of inputs that are remembered for being short; clients repeat a few."""
DRIFT_WEIGHT: Final = 0.05
"""Weight of one run in the correction of the expected run time: about the last 20 runs count."""
OUTLIER: Final = 4.0
"""A run counts for at most four times, and at least a quarter, of what was expected: a lasting change is followed
by a seventh each run, so a tenfold one in 17 runs."""


Sizes = tuple[tuple[int, ...], ...]


def _sizes(job: Job) -> Sizes:
    return tuple([array.shape for array in job.feeds.values()])


class RunTimes:
    """See the module.

    Args:
        limits: what was measured before.

    Attributes:
        drift: what runs take now over what was measured.
    """

    def __init__(self, limits: Limits) -> None:
        self.drift = 1.0
        self._limits = limits
        self._sizer = Sizer(limits)
        self._short: set[Sizes] = set()
        self._observed: list[tuple[int, float, int]] = []
        self._learned = 0

    def expected_s(self, rows: int, weight: float = 1.0) -> float:
        """How long a run of `rows` rows will take, from the profile and the last runs."""
        return self.measured_s(rows, weight) * self.drift

    def measured_s(self, rows: int, weight: float) -> float:
        """How long such a run took when it was measured."""
        return self._limits.line.at(max(1, rows) * weight)

    def sizes(self, weight: float) -> tuple[int, int]:
        """Chunk and batch, in rows of such a weight, by what runs take now."""
        return self._sizer.sizes(weight, self.drift)

    def short(self, job: Job) -> bool:
        """Whether its run is so short that handing it to a worker would cost more.

        A run of inputs of exactly these sizes was measured to be, and sizes are all that the length of a run of this
        model depends on. So nothing that a request holds can make the event loop stand.
        """
        return job.model.bounded and bool(self._short) and _sizes(job) in self._short

    def learn(self, rows: int, seconds: float, weight: float = 1.0, job: Job | None = None) -> None:
        """Corrects the expectation by a run that was measured; `job`: that it was of, whole and alone."""
        if job is not None:
            if job.model.bounded:
                self._note_short(_sizes(job), seconds)
            if len(self._observed) < MAX_OBSERVED:
                self._observed.append((max(1, rows), max(1e-7, seconds), job.elements // max(1, rows)))
        expected = self.measured_s(rows, weight)
        if expected <= 0:
            return
        if self._limits.assumed and self._learned < MAX_OBSERVED:
            # Nothing is known of an assumption that a run could contradict: the mean of the first counts.
            self._learned += 1
            self.drift += (seconds / expected - self.drift) / self._learned
            return
        # One run that was stopped by a neighbour for milliseconds must not count for hundreds of ordinary ones.
        low, high = self.drift / OUTLIER, self.drift * OUTLIER
        ratio = min(high, max(low, seconds / expected))
        self.drift += DRIFT_WEIGHT * (ratio - self.drift)

    def observed(self) -> tuple[dict[int, float], int]:
        """The shortest time by rows of the first runs under this plan, once there are enough, and elements of a row."""
        if len(self._observed) < MAX_OBSERVED:
            return {}, 0
        seconds: dict[int, float] = {}
        for rows, taken_s, _ in self._observed:
            seconds[rows] = min(taken_s, seconds.get(rows, taken_s))
        return seconds, sorted(elements for *_, elements in self._observed)[MAX_OBSERVED // 2]

    def _note_short(self, sizes: Sizes, seconds: float) -> None:
        if seconds > INLINE_S:
            self._short.discard(sizes)
        elif len(self._short) < MAX_SHORT:
            self._short.add(sizes)
