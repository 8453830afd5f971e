"""The CPU that the process used, and what was kept from it: by its quota, by neighbours."""

import time

from corefit_core.burst import Usage
from corefit_core.report import Burst
from corefit_runtime.grant.cgroups import Cgroup, Throttling
from corefit_runtime.telemetry.burst import BurstMeter
from corefit_runtime.telemetry.run_queue import RunQueueWait


class CpuMeter:
    """See the module.

    Args:
        cgroup: of the process.
        request_millicores: what the pod requests; 0 where nobody says.
    """

    def __init__(self, cgroup: Cgroup, request_millicores: int) -> None:
        self._cgroup = cgroup
        self._run_queue = RunQueueWait()
        self._burst: BurstMeter | None = None
        if request_millicores:
            self._burst = BurstMeter(request_millicores, time.monotonic(), self._usage())

    def look(self) -> None:
        """Counts what was used, and kept from us, since the last look: once a second."""
        self._cgroup.throttling()  # What is counted is lost with the controller unless it was looked at.
        if self._burst is not None:
            self._burst.look(time.monotonic(), self._usage())

    def throttling(self) -> Throttling:
        """How often and how long the quota stopped us."""
        return self._cgroup.throttling()

    def run_queue_wait_s(self) -> float:
        """Seconds that our threads were runnable without a CPU."""
        return self._run_queue.total_s()

    @property
    def burst(self) -> Burst | None:
        """Whether CPU beyond the request was there; None where nobody says what is requested."""
        return self._burst.statement if self._burst is not None else None

    def _usage(self) -> Usage:
        throttled_s = self._cgroup.throttling().seconds
        return Usage(cpu_s=time.process_time(), waited_s=self._run_queue.total_s(), throttled_s=throttled_s)
