"""What the process is and does at this moment: its state, its model, its plan; and the report of it.

Touched by the event loop only. Imports neither numpy nor onnxruntime, so that the admin port answers while they
load: on a tenth of a core that takes seconds.
"""

import os
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Final

from corefit_core.burst import Usage
from corefit_core.report import (
    Computed,
    Counters,
    Gauges,
    ModelIdentity,
    PlanInForce,
    Report,
    ServiceTime,
    State,
    is_long,
)
from corefit_runtime import __version__
from corefit_runtime.grant.cgroups import Cgroup
from corefit_runtime.settings.settings import Settings
from corefit_runtime.telemetry.burst import BurstMeter
from corefit_runtime.telemetry.meter import Meter, RunQueueWait

if TYPE_CHECKING:
    from collections.abc import Callable

    from corefit_runtime.pool.model import Model
    from corefit_runtime.pool.pool import Pool
    from corefit_runtime.protocol.codec import Codec

VERSION: Final = __version__


class Service:
    """The one mutable picture of the process; `report` freezes it.

    Attributes:
        model: what is served, None until it is loaded and warm.
        codec: of its requests and responses.
        plan: the plan in force.
        profile: calibrated service times.
        notes: findings that a person should see, by a short key.
        on_state: called when the state is another one, or has another reason.
        on_long_queue: called when a request has come to wait in a long queue, or was refused for what waits; None
            while nobody wants to know.
    """

    def __init__(self, settings: Settings, cgroup: Cgroup, meter: Meter) -> None:
        self.settings = settings
        self.cgroup = cgroup
        self.meter = meter
        self.boot_id = str(uuid.uuid4())
        self.state: State = "Loading"
        self.reason = ""
        self.message = ""
        self.startup_s = 0.0
        self.pool: Pool | None = None
        self.model: Model | None = None
        self.codec: Codec | None = None
        self.plan = PlanInForce(grant_millicores=0, workers=0, threads_per_worker=0, queue_depth=0)
        self.profile: tuple[ServiceTime, ...] = ()
        self.notes: dict[str, str] = {}
        self.on_state: Callable[[], None] = lambda: None
        self.on_long_queue: Callable[[], None] | None = None
        self._run_queue = RunQueueWait()
        self._burst: BurstMeter | None = None
        if settings.cpu_request_millicores:
            self._burst = BurstMeter(settings.cpu_request_millicores, time.monotonic(), self._usage())

    @property
    def ready(self) -> bool:
        """Whether new clients should come here."""
        return self.state == "Ready"

    def became_ready(self) -> None:
        """The model is warm."""
        self.startup_s = self.startup_s or process_age_s()
        self._become("Ready")

    def became_failed(self, reason: str, message: str) -> None:
        """The model can't be served; the process stays and tries again."""
        self._become("Failed", reason, message)

    def became_draining(self) -> None:
        """The process is on its way out."""
        self._become("Draining")

    def _become(self, state: State, reason: str = "", message: str = "") -> None:
        if self.state != "Draining":
            self.state, self.reason, self.message = state, reason, message
            self.on_state()

    def queued(self, wait_s: float) -> None:
        """A request has come to wait, and the next would for so long."""
        if self.on_long_queue is not None and self.is_long(wait_s):
            self.on_long_queue()

    def refused(self, cause: str) -> None:
        """A request was refused: for those that wait, be they as many as the queue takes or as can be in time."""
        if self.on_long_queue is not None and cause in {"queue-full", "deadline"}:
            self.on_long_queue()

    def is_long(self, wait_s: float) -> bool:
        """Whether a queue in which a request would wait so long is a long one."""
        return is_long(wait_s, self.settings.objective_s)

    def look_at_cpu(self) -> None:
        """Counts what was used, and kept from us, since the last look: once a second."""
        self.cgroup.throttling()  # What is counted is lost with the controller unless it was looked at.
        if self._burst is not None:
            self._burst.look(time.monotonic(), self._usage())

    def _usage(self) -> Usage:
        throttled = self.cgroup.throttling().seconds
        return Usage(cpu_s=time.process_time(), waited_s=self._run_queue.total_s(), throttled_s=throttled)

    def counters(self) -> Counters:
        """The monotonic counters now."""
        meter, throttled = self.meter, self.cgroup.throttling()
        return Counters(
            arrivals=meter.arrivals,
            admitted=meter.admitted,
            rejected={cause: count for cause, count in meter.rejected.items() if count},
            completed=meter.completed,
            failed=meter.failed,
            expired=meter.expired,
            cancelled=meter.cancelled,
            busy_worker_seconds=self.pool.busy_s() if self.pool else 0.0,
            cpu_seconds=time.process_time(),
            throttled_periods=throttled.periods,
            throttled_seconds=throttled.seconds,
            runqueue_wait_seconds=self._run_queue.total_s(),
        )

    def gauges(self) -> Gauges:
        """The gauges now."""
        return self.pool.gauges() if self.pool else Gauges()

    def report(self) -> Report:
        """The report, from one snapshot."""
        settings, meter, model = self.settings, self.meter, self.model
        return Report(
            pod_uid=settings.pod_uid,
            boot_id=self.boot_id,
            runtime_version=VERSION,
            state=self.state,
            reason=self.reason,
            message=self.message,
            model=ModelIdentity(
                name=settings.name, version=settings.model_version, sha256=model.sha256 if model else ""
            ),
            plan=self.plan,
            clock_s=time.monotonic(),
            startup_s=self.startup_s,
            counters=self.counters(),
            gauges=self.gauges(),
            burst=self._burst.statement if self._burst is not None else None,
            queue_wait=meter.queue_wait.frozen(),
            service_time=meter.service_time.frozen(),
            computed=Computed(sum_s=meter.computed_s, sum_sq_s2=meter.computed_sq_s2),
            total=meter.total.frozen(),
            profile=self.profile,
            notes=self.notes,
        )


def process_age_s() -> float:
    """Seconds since the process was started, its imports included."""
    after_name = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    started_s = int(after_name[19]) / os.sysconf("SC_CLK_TCK")  # proc(5): field 22, in clock ticks since boot
    return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - started_s)
