"""How long our threads were runnable without a CPU, as the kernel counts it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

TASKS: Final = Path("/proc/self/task")


class RunQueueWait:
    """Seconds that our threads were runnable without a CPU: what neighbours and throttling take.

    `/proc/self/schedstat` covers the main thread alone, so the tasks are summed, and by differences, since the
    sum over living threads would fall when one ends.
    """

    def __init__(self, tasks: Path = TASKS) -> None:
        self._tasks = tasks
        self._seen: dict[str, int] = {}
        self._total_ns = 0

    def total_s(self) -> float:
        """The sum since the start, as far as it was looked at while the threads lived."""
        now = read_run_queue_ns(self._tasks)
        self._total_ns += sum(max(0, ns - self._seen.get(task, 0)) for task, ns in now.items())
        self._seen = dict(now)
        return self._total_ns / 1e9


def read_run_queue_ns(tasks: Path = TASKS) -> Mapping[str, int]:
    """Nanoseconds of run-queue wait by thread id; empty where the kernel doesn't count it."""
    waits: dict[str, int] = {}
    try:
        folders = list(tasks.iterdir())
    except OSError:
        return waits
    for folder in folders:
        try:
            waits[folder.name] = int((folder / "schedstat").read_text().split()[1])
        except (OSError, IndexError, ValueError):
            continue
    return waits
