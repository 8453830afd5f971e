"""The report: what the process is, does and has done at this moment, from those who know it.

Imports neither numpy nor onnxruntime, so that it is there while they load.
"""

import time
import uuid
from typing import TYPE_CHECKING, Final

from corefit_core.report import Computed, Counters, Gauges, ModelIdentity, PlanInForce, Report
from corefit_runtime import __version__

if TYPE_CHECKING:
    from corefit_runtime.pool.pool import Pool
    from corefit_runtime.serving.readiness import Readiness
    from corefit_runtime.serving.servable import Published
    from corefit_runtime.settings.settings import Settings
    from corefit_runtime.telemetry.cpu import CpuMeter
    from corefit_runtime.telemetry.meter import Meter

NO_PLAN: Final = PlanInForce(grant_millicores=0, workers=0, threads_per_worker=0, queue_depth=0)
"""Until a model is served."""


class Reporter:
    """Puts the report together.

    Args:
        settings: of the process.
        readiness: its state.
        published: what it serves.
        meter: what it counts.
        cpu: what it used.
    """

    def __init__(
        self, settings: "Settings", readiness: "Readiness", published: "Published", meter: "Meter", cpu: "CpuMeter"
    ) -> None:
        self.settings = settings
        self.readiness = readiness
        self.meter = meter
        self.cpu = cpu
        self._published = published
        self._boot_id = str(uuid.uuid4())
        self._pool: Pool | None = None

    def observe(self, pool: "Pool") -> None:
        """The pool is there: it comes after the admin port."""
        self._pool = pool

    @property
    def plan(self) -> PlanInForce:
        """The plan in force."""
        servable = self._published.servable
        return servable.plan if servable is not None else NO_PLAN

    def counters(self) -> Counters:
        """The monotonic counters now."""
        meter, throttled = self.meter, self.cpu.throttling()
        return Counters(
            arrivals=meter.arrivals,
            admitted=meter.admitted,
            rejected={cause: count for cause, count in meter.rejected.items() if count},
            completed=meter.completed,
            failed=meter.failed,
            expired=meter.expired,
            cancelled=meter.cancelled,
            busy_worker_seconds=self._pool.busy_s() if self._pool else 0.0,
            cpu_seconds=time.process_time(),
            throttled_periods=throttled.periods,
            throttled_seconds=throttled.seconds,
            runqueue_wait_seconds=self.cpu.run_queue_wait_s(),
        )

    def gauges(self) -> Gauges:
        """The gauges now."""
        return self._pool.gauges() if self._pool else Gauges()

    def report(self) -> Report:
        """The report, from one snapshot."""
        settings, meter, readiness, servable = self.settings, self.meter, self.readiness, self._published.servable
        return Report(
            pod_uid=settings.pod_uid,
            boot_id=self._boot_id,
            runtime_version=__version__,
            state=readiness.state,
            reason=readiness.reason,
            message=readiness.message,
            model=ModelIdentity(
                name=settings.name, version=settings.model_version, sha256=servable.model.sha256 if servable else ""
            ),
            plan=self.plan,
            clock_s=time.monotonic(),
            startup_s=readiness.startup_s,
            counters=self.counters(),
            gauges=self.gauges(),
            burst=self.cpu.burst,
            queue_wait=meter.queue_wait.frozen(),
            service_time=meter.service_time.frozen(),
            computed=Computed(sum_s=meter.computed_s, sum_sq_s2=meter.computed_sq_s2),
            total=meter.total.frozen(),
            profile=servable.profile if servable else (),
            notes=self._published.notes,
        )
