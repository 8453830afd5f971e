"""The interface by which the pool reports each answered request to the counters."""

from typing import Protocol

from corefit_runtime.pool.jobs import Job


class Observer(Protocol):
    """Called on the event loop."""

    def answered(self, job: Job, answer: object, now: float) -> None:
        """An admitted job has ended, with this answer."""
