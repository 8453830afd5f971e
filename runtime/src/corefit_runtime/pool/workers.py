"""The workers of a pool: who runs since when, how long they will be at it, and how they wait for each other's memory.

Shared by the workers under the pool's lock, which nobody holds while the model runs.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

LONGEST_WAIT_S: Final = 1.0
"""Seconds that a run which found no memory waits for the end of one run of another worker."""


class Worker:
    """One thread, and what the loop may see of it: since when it runs, and until when it is expected to.

    Attributes:
        begun: how many runs it has begun.
        starved: whether it waits for its turn to try again, and runs nothing meanwhile.
    """

    __slots__ = ("begun", "since_s", "starved", "thread", "until_s")

    def __init__(self) -> None:
        self.thread: threading.Thread | None = None
        self.since_s = 0.0
        self.until_s = 0.0
        self.begun = 0
        self.starved = False

    def begin(self, now: float) -> None:
        """It runs the model from now on."""
        self.begun += 1
        self.since_s = now


class Workers:
    """All of them, and what their runs come to.

    Args:
        lock: the pool's.

    Attributes:
        retiring: how many are to leave after the run that they are in.
        runs: how often the model was run.
        rows: for how many rows.
    """

    def __init__(self, lock: threading.Lock) -> None:
        self.retiring = 0
        self.runs = 0
        self.rows = 0
        self._lock = lock
        self._all: list[Worker] = []
        self._busy_s = 0.0
        self._rested = threading.Condition(lock)
        self._hungry = 0
        self._scarce = threading.Lock()

    def __len__(self) -> int:
        return len(self._all) - self.retiring

    def add(self, worker: Worker) -> None:
        """One more."""
        self._all.append(worker)

    def leave(self, worker: Worker) -> bool:
        """Whether this one is to leave; then it is none of them any more."""
        if not self.retiring:
            return False
        self.retiring -= 1
        self._all.remove(worker)
        return True

    def retire(self, count: int) -> None:
        """So many leave after the run that they are in."""
        self.retiring += max(0, count)

    def threads(self) -> list[threading.Thread]:
        """Those of the workers that have been started."""
        return [worker.thread for worker in self._all if worker.thread is not None]

    def remaining_s(self, now: float) -> float:
        """Worker-seconds that the runs under way will still take."""
        remaining = 0.0
        for worker in self._all:
            if worker.until_s > now:
                remaining += worker.until_s - now
        return remaining

    def busy(self) -> int:
        """How many run the model."""
        return sum(1 for worker in self._all if worker.since_s)

    def busy_s(self, now: float) -> float:
        """Worker-seconds spent since the start, those of the runs under way included."""
        return self._busy_s + sum(now - worker.since_s for worker in self._all if worker.since_s)

    def count(self, rows: int, busy_s: float) -> None:
        """A run has been made."""
        self._busy_s += busy_s
        self.runs += 1
        self.rows += rows

    def rest(self, worker: Worker, rows: int, now: float) -> None:
        """A worker has made its run; whoever waits for memory may have it."""
        self.count(rows, now - worker.since_s)
        worker.since_s = worker.until_s = 0.0
        if self._hungry:
            self._rested.notify_all()

    def others(self, worker: Worker) -> int | None:
        """How many runs other workers have begun; None while one of them is under way. Without the lock."""
        begun = 0
        for other in self._all:
            if other is not worker:
                if other.since_s and not other.starved:
                    return None
                begun += other.begun
        return begun

    def wait_for_memory(self, worker: Worker) -> None:
        """Returns when another worker has made its run, or none runs, or after a while. Without the lock."""
        with self._rested:
            if self.others(worker) is None:
                self._hungry += 1
                self._rested.wait(LONGEST_WAIT_S)
                self._hungry -= 1

    @contextmanager
    def turn(self, worker: Worker) -> Iterator[None]:
        """The turn to try again what found no memory: one worker at a time has it, and others in line run nothing."""
        worker.starved = True
        with self._scarce:
            worker.begun += 1
            worker.starved = False
            yield
