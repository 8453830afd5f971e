"""Counts the CPU beyond the pod's request: how much the node lent, and how much the pod wanted and did not get.

May not know HTTP, and decides nothing: the reader takes differences of what is stated.
"""

from corefit_core import burst
from corefit_core.burst import Usage
from corefit_core.report import Burst


class BurstMeter:
    """See the module.

    Args:
        request_millicores: what the pod requests.
        now: seconds of a monotonic clock.
        used: by the process until then.
    """

    def __init__(self, request_millicores: int, now: float, used: Usage) -> None:
        self.statement = Burst(request_millicores=request_millicores)
        self._at = now
        self._used = used

    def look(self, now: float, used: Usage) -> None:
        """Counts the time since the last look."""
        self.statement = burst.counted(self.statement, used.since(self._used), now - self._at)
        self._at, self._used = now, used
