"""Calls whoever listens, once, when requests wait for long: in a long queue, or refused because others wait."""

from collections.abc import Callable
from typing import Final

from corefit_core.report import is_long

FOR_THE_QUEUE: Final = frozenset({"queue-full", "deadline"})
"""Causes of refusals for requests that wait, be they as many as the queue takes or as can be in time."""


class Attention:
    """See the module. A request that waits costs nothing while nobody listens.

    Args:
        objective_s: the latency objective.
    """

    def __init__(self, objective_s: float) -> None:
        self._objective_s = objective_s
        self._listener: Callable[[], None] | None = None

    def listen(self, listener: Callable[[], None] | None) -> None:
        """Calls this when the queue is long, once; None: nobody wants to know any more."""
        self._listener = listener

    @property
    def listening(self) -> bool:
        """Whether somebody wants to know."""
        return self._listener is not None

    def queued(self, wait_s: float) -> None:
        """A request has come to wait, and the next would for so long."""
        if self._listener is not None and self.is_long(wait_s):
            self._call()

    def refused(self, cause: str) -> None:
        """A request was refused."""
        if cause in FOR_THE_QUEUE:
            self._call()

    def is_long(self, wait_s: float) -> bool:
        """Whether a queue in which a request would wait so long is a long one."""
        return is_long(wait_s, self._objective_s)

    def _call(self) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            listener()
