"""W worker threads on one shared session: takes jobs from the event loop, gives their answers back to it.

The loop's thread calls `submit`, `cancel`, `apply` and `close`; the workers share the `Schedule` under one lock,
which nobody holds while the model runs. Answers travel back in bunches: one wake-up of the loop for all that are
ready. May not know the protocol; what an answer is made of is the job's `finish`.
"""

import asyncio
import threading
import time
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Final

from corefit_core.errors import Shed
from corefit_core.report import Gauges
from corefit_runtime.pool import runs
from corefit_runtime.pool.jobs import Job
from corefit_runtime.pool.limits import Limits
from corefit_runtime.pool.model import Model
from corefit_runtime.pool.observer import Observer
from corefit_runtime.pool.replies import Replies
from corefit_runtime.pool.schedule import Schedule
from corefit_runtime.pool.work_loop import WorkLoop
from corefit_runtime.pool.workers import Worker, Workers

if TYPE_CHECKING:
    from collections.abc import Callable

THREAD_NAME: Final = "corefit-worker"


class Pool:
    """See the module. The threads start with the first `apply`.

    Args:
        loop: where answers are delivered.
        meter: counts what happens; touched on the loop only.
        limits: what the queue goes by at first.
        delay_s: how long a batch waits to fill.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, meter: Observer, limits: Limits, *, delay_s: float = 0.0
    ) -> None:
        self._loop = loop
        self._meter = meter
        self._lock = threading.Lock()
        self._schedule = Schedule(limits)
        self.on_queued: Callable[[float], None] = lambda _: None
        """Told, on the loop, when one more waits: for how long the next would."""
        self._tokens: SimpleQueue[None] = SimpleQueue()
        self._workers = Workers(self._lock)
        self._replies = Replies(loop, self._deliver)
        self._work = WorkLoop(self._lock, self._schedule, self._workers, self._tokens, self._replies, delay_s=delay_s)
        self._held = 0
        self._idle = asyncio.Event()

    def submit(self, job: Job) -> None:
        """Queues a job.

        Raises:
            Shed: it can't be answered in time.
        """
        now = time.monotonic()
        with self._lock:
            alive = job.deadline_s is None or now <= job.deadline_s
            at_once = alive and self._schedule.short(job)
            remaining_s = self._workers.remaining_s(now)
            parts = 0 if at_once else self._schedule.admit(job, now, remaining_s)
            wait_s = self._schedule.wait_s(remaining_s)
        if at_once:
            self._run_here(job, now)
            return
        self._held += 1
        for _ in range(parts):
            self._tokens.put(None)
        self.on_queued(wait_s)

    def _run_here(self, job: Job, start: float) -> None:
        """A run so short that handing it to a worker would cost more than it does: on the loop's thread.

        Only of a model whose runs are bounded by the sizes of their inputs, and of sizes that were measured.
        """
        job.started_s, computing = start, time.thread_time()
        outcome = runs.attempt(job.whole())
        job.busy_s, job.computed_s = time.monotonic() - start, time.thread_time() - computing
        job.results[0] = outcome
        answer = runs.answer(job)
        end = time.monotonic()
        with self._lock:
            job.closed = True
            weight = self._schedule.limits.weight(job.rows, job.elements)
            self._schedule.times.learn(job.rows, job.busy_s, weight, job)
            self._workers.count(job.rows, end - start)
        self._meter.answered(job, answer, end)
        job.deliver(answer)

    def refusal(
        self, model: Model, rows: int, elements: int, arrived_s: float, deadline_s: float | None
    ) -> Shed | None:
        """How `submit` would refuse such a request now; None: it would take it."""
        now = time.monotonic()
        with self._lock:
            return self._schedule.refusal(
                model, rows, elements, arrived_s, deadline_s, now, self._workers.remaining_s(now)
            )

    def full(self) -> Shed | None:
        """The refusal of a request that comes now, whatever it is; None where that depends on it."""
        with self._lock:
            return self._schedule.full(self._workers.remaining_s(time.monotonic()))

    def cancel(self, job: Job) -> bool:
        """Drops a job whose client is gone; False when it was answered already."""
        with self._lock:
            if job.closed:
                return False
            self._schedule.close(job)
        self._let_go()
        return True

    def apply(self, limits: Limits) -> None:
        """Goes by a new plan: workers are added at once, or leave after the run that they are in."""
        with self._lock:
            self._schedule.replace(limits)
            surplus = len(self._workers) - limits.workers
            self._workers.retire(surplus)
        for _ in range(surplus):
            self._tokens.put(None)
        for _ in range(-surplus):
            self._hire()

    async def idle(self) -> None:
        """Returns when no job is queued or running."""
        while self._held:
            self._idle.clear()
            await self._idle.wait()

    async def close(self) -> None:
        """Lets the workers go; what is queued is not run."""
        with self._lock:
            threads = self._workers.threads()
            self._workers.retire(len(self._workers))
        for _ in threads:
            self._tokens.put(None)
        for thread in threads:
            await self._loop.run_in_executor(None, thread.join)
        self._replies.close()

    def gauges(self) -> Gauges:
        """Requests waiting and held, workers running."""
        with self._lock:
            busy = self._workers.busy()
            wait_s = self._schedule.wait_s(self._workers.remaining_s(time.monotonic()))
            queued, held = self._schedule.waiting, self._schedule.open
        return Gauges(queued=queued, in_flight=held, busy_workers=busy, wait_seconds=wait_s)

    def busy_s(self) -> float:
        """Worker-seconds spent since the start, those of the runs under way included."""
        now = time.monotonic()
        with self._lock:
            return self._workers.busy_s(now)

    def runs(self) -> tuple[int, int]:
        """How often the model was run, and for how many rows."""
        with self._lock:
            return self._workers.runs, self._workers.rows

    def observed(self) -> tuple[dict[int, float], int]:
        """What the first runs under this plan took: see `RunTimes.observed`."""
        with self._lock:
            return self._schedule.times.observed()

    def thread_ids(self) -> list[int]:
        """The kernel's ids of the worker threads."""
        with self._lock:
            return [thread.native_id for thread in self._workers.threads() if thread.native_id]

    def _hire(self) -> None:
        worker = Worker()
        # Daemon: a second SIGTERM ends the process without waiting for a run.
        worker.thread = threading.Thread(target=self._work.run, args=(worker,), name=THREAD_NAME, daemon=True)
        with self._lock:
            self._workers.add(worker)
        worker.thread.start()

    def _deliver(self, job: Job, answer: Any, now: float) -> None:
        self._meter.answered(job, answer, now)
        job.deliver(answer)
        self._let_go()

    def _let_go(self) -> None:
        # Counted on the loop alone: a job leaves the schedule before its answer is made and has come here.
        self._held -= 1
        if self._held == 0:
            self._idle.set()
