"""One central queue against a queue for each worker with stealing: the same arrivals, the same runs, two disciplines.

Both are earliest-due-first and hand work over as the runtime's pool does: a heap under a lock, a token that wakes.
What differs is where a request waits and who may take it.
"""

import heapq
import itertools
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Final, Protocol

import numpy as np
from bench.models.cost import feeds, session
from bench.runtime.harness import Bench

WORKERS: Final = 2
_LOAD: Final = 0.8
_PATIENT: Final = 10.0
"""The large requests have so many times the objective of the small ones: taken first, they make those late."""


class Job:
    """One run with its due time, and when it was started and done."""

    __slots__ = ("arrives_s", "done_s", "due_s", "run", "started_s")

    def __init__(self, arrives_s: float, due_s: float, run: Callable[[], Any]) -> None:
        self.arrives_s = arrives_s
        self.due_s = due_s
        self.run = run
        self.started_s = self.done_s = 0.0


class Queues(Protocol):
    """Where jobs wait."""

    def put(self, job: Job) -> None:
        """Takes a job in and wakes a worker for it."""

    def take(self, worker: int) -> Job | None:
        """The next job for a worker; None: go home."""

    def close(self, workers: int) -> None:
        """Sends the workers home when all is done."""


class Central:
    """One heap under one lock; one token a job."""

    def __init__(self, _workers: int) -> None:
        self._lock = threading.Lock()
        self._heap: list[tuple[float, int, Job]] = []
        self._number = itertools.count()
        self._tokens: SimpleQueue[bool] = SimpleQueue()

    def put(self, job: Job) -> None:
        """Into the heap."""
        with self._lock:
            heapq.heappush(self._heap, (job.due_s, next(self._number), job))
        self._tokens.put(True)

    def take(self, worker: int) -> Job | None:
        """What is due first of all."""
        del worker
        if not self._tokens.get():
            return None
        with self._lock:
            return heapq.heappop(self._heap)[2]

    def close(self, workers: int) -> None:
        """A token for each that means: home."""
        for _ in range(workers):
            self._tokens.put(False)


class Stealing:
    """A heap and a lock for each worker. An arrival goes to who sleeps, else to the shortest; an idle one steals."""

    def __init__(self, workers: int) -> None:
        self._locks = [threading.Lock() for _ in range(workers)]
        self._heaps: list[list[tuple[float, int, Job]]] = [[] for _ in range(workers)]
        self._number = itertools.count()
        self._bells: list[SimpleQueue[bool]] = [SimpleQueue() for _ in range(workers)]
        self._asleep = [False] * workers
        self._open = True

    def put(self, job: Job) -> None:
        """To the worker that it suits."""
        asleep = [worker for worker, sleeps in enumerate(self._asleep) if sleeps]
        worker = asleep[0] if asleep else min(range(len(self._heaps)), key=lambda w: len(self._heaps[w]))
        with self._locks[worker]:
            heapq.heappush(self._heaps[worker], (job.due_s, next(self._number), job))
            ring = self._asleep[worker]
            self._asleep[worker] = False
        if ring:
            self._bells[worker].put(True)

    def take(self, worker: int) -> Job | None:
        """What is due first of its own, else of the longest."""
        while True:
            if (job := self._pop(worker) or self._steal(worker)) is not None:
                return job
            with self._locks[worker]:
                # Under the lock: who puts a job here afterwards sees that it has to ring.
                self._asleep[worker] = not self._heaps[worker]
                sleeps = self._asleep[worker]
            if sleeps and not (self._bells[worker].get() and self._open):
                return None

    def close(self, workers: int) -> None:
        """Rings at all, for the last time."""
        self._open = False
        for worker in range(workers):
            self._bells[worker].put(False)

    def _pop(self, worker: int) -> Job | None:
        with self._locks[worker]:
            return heapq.heappop(self._heaps[worker])[2] if self._heaps[worker] else None

    def _steal(self, worker: int) -> Job | None:
        longest = max(range(len(self._heaps)), key=lambda other: len(self._heaps[other]))
        return self._pop(longest) if longest != worker else None


class Outcome:
    """What one discipline made of some traffic."""

    def __init__(self, jobs: list[Job], wall_s: float, cpu_s: float) -> None:
        self.rate = len(jobs) / wall_s
        self.cpu_s = cpu_s / len(jobs)
        self.waits = [job.started_s - job.arrives_s for job in jobs]
        self.late = sum(job.done_s > job.due_s for job in jobs) / len(jobs)


def compared(bench: Bench) -> None:
    """Mixed traffic at 80 % load, and as many tiny runs as the workers can do."""
    models = {name: _runner(bench.model(name)) for name in ("tiny", "5ms", "20ms")}
    disciplines: dict[str, Callable[[int], Queues]] = {"central": Central, "stealing": Stealing}
    mixed: dict[str, list[Outcome]] = {name: [] for name in disciplines}
    tiny: dict[str, list[Outcome]] = {name: [] for name in disciplines}
    for seed in range(2 * bench.rounds):
        for name, make in disciplines.items():
            mixed[name].append(_played(make, list(_mixed(models, seed, 3 * bench.window_s))))
            tiny[name].append(_played(make, [Job(0.0, 0.0, models["tiny"]) for _ in range(20_000)]))
    for name in disciplines:
        waits = [1000 * float(np.quantile(outcome.waits, 0.99)) for outcome in mixed[name]]
        bench.found("queues", f"{name}, p99 of the wait at {_LOAD:.0%}", statistics.median(waits), "ms")
        late = statistics.median(outcome.late for outcome in mixed[name])
        bench.found("queues", f"{name}, late at {_LOAD:.0%}", 100 * late, "%")
        rate = statistics.median(outcome.rate for outcome in tiny[name])
        cpu_us = 1e6 * statistics.median(outcome.cpu_s for outcome in tiny[name])
        bench.found("queues", f"{name}, tiny runs", rate, "runs/s", note=f"{cpu_us:.1f} us of CPU each")


def _runner(path: Path) -> Callable[[], Any]:
    runner = session(path.read_bytes())
    inputs = feeds(runner)
    return lambda: runner.run(None, inputs)


def _mixed(models: dict[str, Callable[[], Any]], seed: int, seconds: float) -> Iterator[Job]:
    """Nine requests of 5 ms to one of 20 ms, Poisson arrivals; the large ones may take ten times as long."""
    random = np.random.default_rng(seed)
    objective_s, rate = 0.025, _LOAD * WORKERS / (0.9 * 0.005 + 0.1 * 0.020)
    for arrives in np.cumsum(random.exponential(1 / rate, int(rate * seconds))).tolist():
        large = random.random() < 0.1
        due = arrives + objective_s * (_PATIENT if large else 1)
        yield Job(arrives, due, models["20ms" if large else "5ms"])


def _played(make: Callable[[int], Queues], jobs: list[Job]) -> Outcome:
    """Sends the jobs when they are due to arrive, and waits for all of them."""
    queues = make(WORKERS)
    left = threading.Semaphore(0)
    begin = time.monotonic()

    def work(worker: int) -> None:
        while (job := queues.take(worker)) is not None:
            job.started_s = time.monotonic() - begin
            job.run()
            job.done_s = time.monotonic() - begin
            left.release()

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(WORKERS)]
    cpu = time.process_time()
    begin = time.monotonic()
    for thread in threads:
        thread.start()
    for job in jobs:
        if (early := job.arrives_s - (time.monotonic() - begin)) > 0:
            time.sleep(early)
        queues.put(job)
    for _ in jobs:
        left.acquire()
    wall, cpu = time.monotonic() - begin, time.process_time() - cpu
    queues.close(WORKERS)
    for thread in threads:
        thread.join()
    return Outcome(jobs, wall, cpu)
