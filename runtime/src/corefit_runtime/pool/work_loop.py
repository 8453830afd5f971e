"""What a worker's thread does: takes parts off the queue, waits for others to join, runs them, hands answers back.

All workers share the schedule under one lock, which nobody holds while the model runs.
"""

import threading
import time
from functools import partial
from queue import Empty, SimpleQueue

from corefit_core.errors import DeadlineExceeded
from corefit_runtime.pool import runs
from corefit_runtime.pool.jobs import Job, Part
from corefit_runtime.pool.replies import Replies
from corefit_runtime.pool.runs import Outcome
from corefit_runtime.pool.schedule import Schedule
from corefit_runtime.pool.workers import Worker, Workers


class WorkLoop:
    """See the module.

    Args:
        lock: of the schedule and of the workers.
        schedule: the queue.
        workers: all of them.
        tokens: one for each queued part; a worker that finds nothing for its token waits for the next.
        replies: where answers go.
        delay_s: how long a batch waits to fill.
    """

    def __init__(
        self,
        lock: threading.Lock,
        schedule: Schedule,
        workers: Workers,
        tokens: SimpleQueue[None],
        replies: Replies,
        *,
        delay_s: float,
    ) -> None:
        self._lock = lock
        self._schedule = schedule
        self._workers = workers
        self._tokens = tokens
        self._replies = replies
        self._delay_s = delay_s

    def run(self, worker: Worker) -> None:
        """What a worker's thread does until it is to leave."""
        while True:
            self._tokens.get()
            with self._lock:
                if self._workers.leave(worker):
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
            rows = part.rows if len(parts) == 1 else sum(p.rows for p in parts)
            worker.until_s = now + self._delay_s + self._schedule.times.expected_s(rows, part.job.weight)
            if not self._delay_s:
                worker.begin(now)
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
        self._replies.put(job, DeadlineExceeded("the deadline passed before a worker was free"))
        return True

    def _fill(self, worker: Worker, parts: list[Part]) -> list[Part]:
        """What is to be run when the delay is over that is configured for others to join, in which nobody is busy."""
        self._gather(parts)
        now = time.monotonic()
        with self._lock:
            parts = [part for part in parts if not part.job.closed and not self._expired(part.job, now)]
            rows, weight = sum(part.rows for part in parts), parts[0].job.weight if parts else 1.0
            expected_s = self._schedule.times.expected_s(rows, weight)
            worker.until_s = now + expected_s if parts else 0.0
            if parts:
                worker.begin(now)
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
        outcomes = runs.run(parts, partial(self._workers.others, worker))
        outcomes = self._once_there_is_memory(worker, parts, outcomes)
        ran_s, computed_s = time.monotonic() - start, time.thread_time() - computing
        rows = sum(part.rows for part in parts)
        with self._lock:
            alone = parts[0].job if len(parts) == 1 and parts[0].whole else None
            self._schedule.times.learn(rows, ran_s, parts[0].job.weight, alone)
            for part in parts:
                share = part.rows / rows if rows else 1 / len(parts)
                part.job.busy_s += ran_s * share
                part.job.computed_s += computed_s * share
            ready = [
                part.job for part, outcome in zip(parts, outcomes, strict=True) if self._schedule.settle(part, outcome)
            ]
        for job in ready:
            if any(isinstance(result, runs.AloneError) for result in job.results):
                self._run_whole(worker, job)
            self._replies.put(job, runs.answer(job))
        with self._lock:
            self._workers.rest(worker, rows, time.monotonic())

    def _once_there_is_memory(self, worker: Worker, parts: list[Part], outcomes: list[Outcome]) -> list[Outcome]:
        """What found no memory, run again while and after the runs of other workers end. One worker at a time."""
        if not any(isinstance(outcome, runs.MemoryTakenError) for outcome in outcomes):
            return outcomes
        others, wait = partial(self._workers.others, worker), partial(self._workers.wait_for_memory, worker)
        with self._workers.turn(worker):
            return [
                runs.again(part, others, wait) if isinstance(outcome, runs.MemoryTakenError) else outcome
                for part, outcome in zip(parts, outcomes, strict=True)
            ]

    def _run_whole(self, worker: Worker, job: Job) -> None:
        """Runs a request again that was cut, whole: a part of it failed, or showed that rows are not independent."""
        start, computing = time.monotonic(), time.thread_time()
        job.drop_outputs()
        whole = [job.whole()]
        outcomes = runs.run(whole, partial(self._workers.others, worker))
        job.results = [*self._once_there_is_memory(worker, whole, outcomes)]
        ran_s, computed_s = time.monotonic() - start, time.thread_time() - computing
        with self._lock:
            job.busy_s += ran_s
            job.computed_s += computed_s
            self._workers.count(job.rows, 0.0)
