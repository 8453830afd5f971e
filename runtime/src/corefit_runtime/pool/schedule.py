"""The queue between the event loop and the workers: earliest due time first, bounded by depth and by deadline.

Not thread-safe: the pool holds its lock around every call. Knows no threads, clocks or models: `now` is given.
"""

import heapq
from typing import Final

from corefit_core.batching import due_times, spans
from corefit_core.errors import Shed
from corefit_runtime.pool.jobs import Job, Outputs, Part
from corefit_runtime.pool.limits import Limits
from corefit_runtime.pool.model import Model
from corefit_runtime.pool.run_times import RunTimes

MARGIN: Final = 0.85
"""A request is taken when its expected answer lies within so much of what it has: runs vary, and the way to us and back
takes time that we don't see. With 0.9, 2 % of the answers came late at 200 % load."""
MIN_RETRY_S: Final = 0.01
MAX_PARTS: Final = 1024
"""Parts of one request; one of more rows has larger ones. Cutting so many takes 2 ms, on the event loop, for a request
that at the usual 10 ms a part computes for 10 s."""

MOST_JOINED: Final = 1 << 19
"""Elements of the inputs of a run that several requests share: it copies them, which nobody charges, of 4 MiB at most.
What is larger computes for so long that to join it saves nothing."""


class Schedule:
    """The waiting parts, and the sums over them that admission needs.

    Attributes:
        times: how long runs will take.
        waiting: jobs of which no part has begun.
        open: jobs that are not answered yet.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.waiting = 0
        self.open = 0
        self._heap: list[tuple[float, int, Part]] = []
        self._dead = 0
        self._sequence = 0
        self._first_s = 0.0
        self._all_s = 0.0
        self.times = RunTimes(limits)

    def admit(self, job: Job, now: float, busy_s: float) -> int:
        """Takes a job in and returns how many parts it was queued in.

        Args:
            job: what has arrived.
            now: monotonic.
            busy_s: worker-seconds that the runs under way will still take.

        Raises:
            Shed: it would have to wait longer than it has.
        """
        refusal = self.refusal(job.model, job.rows, job.elements, job.arrived_s, job.deadline_s, now, busy_s)
        if refusal is not None:
            raise refusal
        parts = self._cut(job)
        due = due_times(job.arrived_s, len(parts), self.limits.objective_s, job.deadline_s)
        job.due_s = due[-1]
        job.left = len(parts)
        job.results = [None] * len(parts)
        job.cost_s = parts[0].cost_s
        for part, when in zip(parts, due, strict=True):
            self._push(when, part)
        job.waiting = True
        self.waiting += 1
        self.open += 1
        return len(parts)

    def pop(self) -> Part | None:
        """The part that is due first, off the queue; None when nothing waits."""
        self._bury()
        if not self._heap:
            return None
        part = heapq.heappop(self._heap)[2]
        self._forget(part)
        return part

    def pop_joinable(self, first: Part, room: int) -> Part | None:
        """The next due part, if it is a whole request that may run together with `first` and has at most `room` rows.

        Only the head of the queue is looked at: taking later ones first would be unfair to those before them.
        """
        self._bury()
        if not self._heap:
            return None
        part = self._heap[0][2]
        if not part.whole or part.rows > room or part.job.signature != first.job.signature:
            return None
        heapq.heappop(self._heap)
        self._forget(part)
        return part

    def close(self, job: Job) -> None:
        """Ends a job: what it still has in the queue is skipped and no longer counted."""
        if job.closed:
            return
        job.closed = True
        self.open -= 1
        self._all_s = max(0.0, self._all_s - job.queued_s)
        if job.waiting:
            job.waiting = False
            self._no_longer_waits(job.cost_s)
            job.let_go()  # No worker has any of it.
        self._dead += job.queued
        if 2 * self._dead > len(self._heap):
            self._heap = [entry for entry in self._heap if not entry[2].job.closed]
            heapq.heapify(self._heap)
            self._dead = 0

    def settle(self, part: Part, outcome: Outputs | Exception) -> bool:
        """Notes what became of a part; True when its job is complete by it, or failed by it."""
        job = part.job
        if job.closed:
            return False
        job.results[part.index] = outcome
        job.left -= 1
        if job.left and not isinstance(outcome, Exception):
            return False
        self.close(job)
        return True

    def short(self, job: Job) -> bool:
        """Whether it may run at once on the event loop: its run is short, and nothing else is held."""
        return self.open == 0 and self.times.short(job)

    def wait_s(self, busy_s: float) -> float:
        """How long a request that comes now is expected to wait for a worker."""
        return (busy_s + self._first_s * self.times.drift) / self.limits.workers

    def full(self, busy_s: float) -> Shed | None:
        """The refusal of whatever comes now, where as many requests wait as may."""
        if self.waiting < self.limits.depth:
            return None
        return Shed(
            f"{self.waiting} requests wait already, as many as the plan allows",
            cause="queue-full",
            retry_after_s=max(MIN_RETRY_S, self.wait_s(busy_s)),
        )

    def refusal(  # noqa: PLR0917 - what a request is, without making one
        self,
        model: Model,
        rows: int,
        elements: int,
        arrived_s: float,
        deadline_s: float | None,
        now: float,
        busy_s: float,
    ) -> Shed | None:
        """The refusal of a request that would have to wait longer than it has; None for one that may come in."""
        full = self.full(busy_s)
        if full is not None or self.waiting == 0:
            return full  # With nobody waiting at most the run that is under way lies ahead: such a one may always try.
        weight = self.limits.weight(rows, elements)
        ranges, batch = self._ranges(model, rows, elements, weight)
        own = self.times.drift * sum(self._cost(stop - start, weight, batch) for start, stop in ranges)
        wait = self.wait_s(busy_s)
        if len(ranges) > 1:
            wait = (busy_s + self._all_s * self.times.drift) / self.limits.workers
        due = arrived_s + self.limits.objective_s * len(ranges)
        if deadline_s is not None:
            due = min(due, deadline_s)
        allowed = MARGIN * (due - arrived_s) - (now - arrived_s)
        if wait + own <= allowed:
            return None
        return Shed(
            f"it would be answered in {1000 * (wait + own):.0f} ms, later than the {1000 * allowed:.0f} ms it has",
            cause="deadline",
            retry_after_s=max(MIN_RETRY_S, wait + own - allowed),
        )

    def replace(self, limits: Limits) -> None:
        """Goes by a new plan from now on; what waits keeps its parts."""
        self.limits = limits
        self.times = RunTimes(limits)

    def _ranges(self, model: Model, rows: int, elements: int, weight: float) -> tuple[list[tuple[int, int]], int]:
        """The rows of each part, and of the run that it may be joined into; 0 where it may not be."""
        if not model.rows_independent:
            return [(0, rows)], 0
        chunk, batch = self.times.sizes(weight)
        if model.most_elements and elements > 0:
            fits = max(1, model.most_elements * max(1, rows) // (elements * self.limits.workers))
            chunk, batch = min(chunk or fits, fits), min(batch, fits)
        if rows > 1 and 0 < chunk < rows:
            return spans(rows, max(chunk, -(-rows // MAX_PARTS))), 0
        if elements * batch > MOST_JOINED * rows:
            batch = MOST_JOINED * rows // elements
        return [(0, rows)], batch if 0 < rows <= batch else 0

    def _cut(self, job: Job) -> list[Part]:
        job.weight = self.limits.weight(job.rows, job.elements)
        ranges, job.batch = self._ranges(job.model, job.rows, job.elements, job.weight)
        whole = len(ranges) == 1
        if job.batch:
            job.signature = job.joins()
        return [
            Part(job, i, start, stop, whole=whole, cost_s=self._cost(stop - start, job.weight, job.batch))
            for i, (start, stop) in enumerate(ranges)
        ]

    def _cost(self, rows: int, weight: float, batch: int) -> float:
        if batch:
            return self.limits.row_s * rows * weight
        return self.times.measured_s(rows, weight)

    def _push(self, due: float, part: Part) -> None:
        self._sequence += 1
        heapq.heappush(self._heap, (due, self._sequence, part))
        part.job.queued += 1
        part.job.queued_s += part.cost_s
        self._all_s += part.cost_s
        if part.index == 0:
            self._first_s += part.cost_s

    def _bury(self) -> None:
        """Takes what has ended off the head of the queue."""
        while self._heap and self._heap[0][2].job.closed:
            heapq.heappop(self._heap)
            self._dead -= 1

    def _no_longer_waits(self, cost_s: float) -> None:
        self.waiting -= 1
        # What rounding has left would be a wait for nobody.
        self._first_s = max(0.0, self._first_s - cost_s) if self.waiting else 0.0

    def _forget(self, part: Part) -> None:
        job = part.job
        job.queued -= 1
        job.queued_s -= part.cost_s
        self._all_s = max(0.0, self._all_s - part.cost_s)
        if job.waiting:
            job.waiting = False
            self._no_longer_waits(part.cost_s)
        if not self._heap:
            self._all_s = 0.0  # What rounding has left.
