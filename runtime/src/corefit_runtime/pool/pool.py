"""W worker threads on one shared session: takes jobs from the event loop, gives their answers back to it.

The loop's thread calls `submit`, `cancel`, `apply` and `close`; the workers share the `Schedule` under one lock,
which nobody holds while the model runs. Answers travel back in bunches: one wake-up of the loop for all that are
ready. May not know the protocol; what an answer is made of is the job's `finish`.
"""

import asyncio
import os
import threading
import time
from collections import deque
from functools import partial
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Final

from corefit_core.errors import DeadlineExceeded, Shed, TooLarge
from corefit_core.report import Gauges
from corefit_runtime.pool import runs
from corefit_runtime.pool.jobs import Job, Part
from corefit_runtime.pool.limits import Limits
from corefit_runtime.pool.model import Model
from corefit_runtime.pool.observer import Observer
from corefit_runtime.pool.runs import Outcome, Worker
from corefit_runtime.pool.schedule import Schedule

if TYPE_CHECKING:
    from collections.abc import Callable

THREAD_NAME: Final = "corefit-worker"
LONGEST_WAIT_S: Final = 1.0
"""Seconds that a run which found no memory waits for the end of one run of another worker."""


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
        self._rested = threading.Condition(self._lock)
        self._scarce = threading.Lock()
        self._schedule = Schedule(limits)
        self._delay_s = delay_s
        self.on_queued: Callable[[float], None] = lambda _: None
        """Told, on the loop, when one more waits: for how long the next would."""
        # One for each queued part; a worker that finds nothing for its token waits for the next.
        self._tokens: SimpleQueue[None] = SimpleQueue()
        self._workers: list[Worker] = []
        self._retiring = 0
        self._answers: deque[tuple[Job, Any]] = deque()
        self._woken = False
        # Not `call_soon_threadsafe`: it holds the GIL while it wakes the loop's thread, which then waits for it.
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        loop.add_reader(self._bell, self._deliver)
        self._busy_s = 0.0
        self._runs = 0
        self._rows = 0
        self._held = 0
        self._idle = asyncio.Event()
        self._idle.set()

    def submit(self, job: Job) -> None:
        """Queues a job.

        Raises:
            Shed: it can't be answered in time.
        """
        now = time.monotonic()
        with self._lock:
            alive = job.deadline_s is None or now <= job.deadline_s
            at_once = alive and self._schedule.short(job)
            remaining_s = self._remaining_s(now)
            parts = 0 if at_once else self._schedule.admit(job, now, remaining_s)
            wait_s = self._schedule.wait_s(remaining_s)
        if at_once:
            self._run_here(job, now)
            return
        self._held += 1
        self._idle.clear()
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
            self._schedule.learn(job.rows, job.busy_s, weight, job)
            self._busy_s += end - start
            self._runs += 1
            self._rows += job.rows
        self._meter.answered(job, answer, end)
        job.deliver(answer)

    def refusal(
        self, model: Model, rows: int, elements: int, arrived_s: float, deadline_s: float | None
    ) -> Shed | None:
        """How `submit` would refuse such a request now; None: it would take it."""
        now = time.monotonic()
        with self._lock:
            return self._schedule.refusal(model, rows, elements, arrived_s, deadline_s, now, self._remaining_s(now))

    def full(self) -> Shed | None:
        """The refusal of a request that comes now, whatever it is; None where that depends on it."""
        with self._lock:
            return self._schedule.full(self._remaining_s(time.monotonic()))

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
            surplus = len(self._workers) - self._retiring - limits.workers
            self._retiring += max(0, surplus)
        for _ in range(surplus):
            self._tokens.put(None)
        for _ in range(-surplus):
            self._hire()

    async def idle(self) -> None:
        """Returns when no job is queued or running."""
        await self._idle.wait()

    async def close(self) -> None:
        """Lets the workers go; what is queued is not run."""
        with self._lock:
            workers = list(self._workers)
            self._retiring = len(workers)
        for _ in workers:
            self._tokens.put(None)
        for worker in workers:
            if worker.thread is not None:
                await self._loop.run_in_executor(None, worker.thread.join)
        self._loop.remove_reader(self._bell)
        os.close(self._bell)

    def gauges(self) -> Gauges:
        """Requests waiting and held, workers running."""
        with self._lock:
            busy = sum(1 for worker in self._workers if worker.since_s)
            wait_s = self._schedule.wait_s(self._remaining_s(time.monotonic()))
            queued, held = self._schedule.waiting, self._schedule.open
        return Gauges(queued=queued, in_flight=held, busy_workers=busy, wait_seconds=wait_s)

    def busy_s(self) -> float:
        """Worker-seconds spent since the start, those of the runs under way included."""
        now = time.monotonic()
        with self._lock:
            return self._busy_s + sum(now - worker.since_s for worker in self._workers if worker.since_s)

    def runs(self) -> tuple[int, int]:
        """How often the model was run, and for how many rows."""
        with self._lock:
            return self._runs, self._rows

    def observed(self) -> tuple[dict[int, float], int]:
        """What the first runs under this plan took: see `Schedule.observed`."""
        with self._lock:
            return self._schedule.observed()

    def thread_ids(self) -> list[int]:
        """The kernel's ids of the worker threads."""
        with self._lock:
            return [w.thread.native_id for w in self._workers if w.thread is not None and w.thread.native_id]

    def _remaining_s(self, now: float) -> float:
        remaining = 0.0
        for worker in self._workers:
            if worker.until_s > now:
                remaining += worker.until_s - now
        return remaining

    def _hire(self) -> None:
        worker = Worker()
        # Daemon: a second SIGTERM ends the process without waiting for a run.
        worker.thread = threading.Thread(target=self._work, args=(worker,), name=THREAD_NAME, daemon=True)
        with self._lock:
            self._workers.append(worker)
        worker.thread.start()

    def _work(self, worker: Worker) -> None:
        while True:
            self._tokens.get()
            with self._lock:
                if self._retiring:
                    self._retiring -= 1
                    self._workers.remove(worker)
                    return
                parts = self._take(worker)
            if parts and self._delay_s:
                parts = self._fill(worker, parts)
            if parts:
                self._compute(worker, parts)
            del parts  # While it waits for the next, it holds neither what this took nor what came of it.

    def _take(self, worker: Worker) -> list[Part]:
        """The next part and what may run with it, under the lock; expired ones are answered on the way."""
        now = time.monotonic()
        while (part := self._schedule.pop()) is not None:
            if self._expired(part.job, now):
                continue
            parts = [part]
            if part.job.signature is not None and part.job.model.rows_independent:
                self._join(parts, now)
            worker.since_s = 0.0 if self._delay_s else now
            rows = part.rows if len(parts) == 1 else sum(p.rows for p in parts)
            worker.until_s = now + self._delay_s + self._schedule.expected_s(rows, part.job.weight)
            return parts
        return []

    def _join(self, parts: list[Part], now: float) -> None:
        room = parts[0].job.batch - sum(part.rows for part in parts)
        while room > 0 and (part := self._schedule.pop_joinable(parts[0], room)) is not None:
            if not self._expired(part.job, now):
                parts.append(part)
                room -= part.rows

    def _expired(self, job: Job, now: float) -> bool:
        if job.deadline_s is None or now <= job.deadline_s:
            return False
        self._schedule.close(job)
        self._answer(job, DeadlineExceeded("the deadline passed before a worker was free"))
        return True

    def _fill(self, worker: Worker, parts: list[Part]) -> list[Part]:
        """What is to be run when the delay is over that is configured for others to join, in which nobody is busy."""
        self._gather(parts)
        now = time.monotonic()
        with self._lock:
            parts = [part for part in parts if not part.job.closed and not self._expired(part.job, now)]
            rows, weight = sum(part.rows for part in parts), parts[0].job.weight if parts else 1.0
            expected_s = self._schedule.expected_s(rows, weight)
            worker.since_s, worker.until_s = (now, now + expected_s) if parts else (0.0, 0.0)
        return parts

    def _gather(self, parts: list[Part]) -> None:
        """Waits for more to join; each arrival brings a token that ends the wait."""
        until = time.monotonic() + self._delay_s
        while parts[0].job.signature is not None and (left := until - time.monotonic()) > 0:
            if sum(part.rows for part in parts) >= parts[0].job.batch:
                return
            try:
                self._tokens.get(timeout=left)
            except Empty:
                return
            before = len(parts)
            with self._lock:
                self._join(parts, time.monotonic())
            if len(parts) == before:
                # Not one that joins: its token goes back, and it need not wait for us.
                self._tokens.put(None)
                return

    def _compute(self, worker: Worker, parts: list[Part]) -> None:
        start = time.monotonic()
        for part in parts:
            if part.job.started_s == 0.0:
                part.job.started_s = start
        computing = time.thread_time()
        outcomes = runs.run(parts, partial(self._others_run, worker))
        outcomes = self._once_there_is_memory(worker, parts, outcomes)
        ran_s, computed_s = time.monotonic() - start, time.thread_time() - computing
        rows = sum(part.rows for part in parts)
        with self._lock:
            alone = parts[0].job if len(parts) == 1 and parts[0].whole else None
            self._schedule.learn(rows, ran_s, parts[0].job.weight, alone)
            for part in parts:
                share = part.rows / rows if rows else 1 / len(parts)
                part.job.busy_s += ran_s * share
                part.job.computed_s += computed_s * share
            ready = [p.job for p, outcome in zip(parts, outcomes, strict=True) if self._schedule.settle(p, outcome)]
        for job in ready:
            if any(isinstance(result, runs.AloneError) for result in job.results):
                self._run_whole(worker, job)
            self._answer(job, runs.answer(job))
        self._rest(worker, rows)

    def _others_run(self, worker: Worker) -> bool:
        """Whether other workers run the model, and do not wait for memory themselves."""
        return any(other.since_s and not other.starved for other in self._workers if other is not worker)

    def _once_there_is_memory(self, worker: Worker, parts: list[Part], outcomes: list[Outcome]) -> list[Outcome]:
        """What found no memory, run again while and after the runs of other workers end. One worker at a time."""
        if not any(isinstance(outcome, TooLarge) for outcome in outcomes):
            return outcomes
        others_run = partial(self._others_run, worker)

        def wait() -> None:
            with self._rested:
                if others_run():
                    self._rested.wait(LONGEST_WAIT_S)

        worker.starved = True
        with self._scarce:
            worker.starved = False
            return [
                runs.again(part, outcome, others_run, wait) if isinstance(outcome, TooLarge) else outcome
                for part, outcome in zip(parts, outcomes, strict=True)
            ]

    def _run_whole(self, worker: Worker, job: Job) -> None:
        """Runs a request again that was cut, whole: a part of it failed, or showed that rows are not independent."""
        start, computing = time.monotonic(), time.thread_time()
        whole = [job.whole()]
        outcomes = runs.run(whole, partial(self._others_run, worker))
        job.results = [*self._once_there_is_memory(worker, whole, outcomes)]
        ran_s, computed_s = time.monotonic() - start, time.thread_time() - computing
        with self._lock:
            job.busy_s += ran_s
            job.computed_s += computed_s
            self._runs += 1
            self._rows += job.rows

    def _rest(self, worker: Worker, rows: int) -> None:
        now = time.monotonic()
        with self._lock:
            self._busy_s += now - worker.since_s
            self._runs += 1
            self._rows += rows
            worker.since_s = worker.until_s = 0.0
            self._rested.notify_all()

    def _answer(self, job: Job, answer: Any) -> None:
        """Hands an answer to the loop; it is woken once for all that gather until it comes round."""
        self._answers.append((job, answer))
        if not self._woken:
            self._woken = True
            os.eventfd_write(self._bell, 1)

    def _deliver(self) -> None:
        os.eventfd_read(self._bell)
        # First the flag, then the queue: an answer that comes after the last look sets the flag anew.
        self._woken = False
        now = time.monotonic()
        while self._answers:
            job, answer = self._answers.popleft()
            self._meter.answered(job, answer, now)
            job.deliver(answer)
            self._let_go()

    def _let_go(self) -> None:
        # Counted on the loop alone: a job leaves the schedule before its answer is made and has come here.
        self._held -= 1
        if self._held == 0:
            self._idle.set()
